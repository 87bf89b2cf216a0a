"""Rows of a query as dicts, many rows in few statements, and how a person's reference becomes a row."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from claire.node.errors import Ambiguous, NotFound

Row = dict[str, Any]

PREFIX_CHARS_MIN = 4  # shorter references are names, never ids
SHORT_CHARS = 8
CANDIDATES_SHOWN = 10
KEYS_PER_QUERY = 500
ROWS_PER_STATEMENT = (500, 50, 1)  # times the columns of a table below the 32,766 variables SQLite takes


def rows(db: sqlite3.Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
    cursor = db.execute(sql, values)
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def one(db: sqlite3.Connection, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> Row | None:
    return next(iter(rows(db, sql, values)), None)


def among(db: sqlite3.Connection, sql: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Rows of `sql`, which ends in "WHERE key IN", for hundreds of keys a statement; in no order."""
    for start in range(0, len(keys), KEYS_PER_QUERY):
        some = keys[start : start + KEYS_PER_QUERY]
        yield from db.execute(f"{sql} ({', '.join('?' * len(some))})", some)


def insert(db: sqlite3.Connection, into: str, table: Sequence[Sequence[Any]], on_conflict: str = "") -> None:
    """Rows of equal width `into` "events (uuid, hlc)": hundreds a statement cost less than a statement each, and
    Python's other threads run while SQLite writes them."""
    if not table:
        return
    marks = f"({', '.join('?' * len(table[0]))})"
    start = 0
    while start < len(table):
        size = next(size for size in ROWS_PER_STATEMENT if start + size <= len(table))
        several = f"INSERT INTO {into} VALUES {', '.join([marks] * size)} {on_conflict}"
        db.execute(several, tuple(chain.from_iterable(table[start : start + size])))
        start += size


def resolve(db: sqlite3.Connection, noun: str, select: str, ref: str, *, id_column: str, label_column: str = "") -> Row:
    """The row of `select` (a query that ends in a WHERE clause) that a person means by `ref`.

    A whole id wins over a label, a label over a unique prefix of an id. NotFound names the listing command, Ambiguous
    the candidates.
    """
    attempts: list[tuple[str, tuple[str, ...]]] = [(f"{select} AND {id_column} = ?", (ref.lower(),))]
    if label_column:
        attempts.append((f"{select} AND {label_column} = ?", (ref,)))
    if len(ref) >= PREFIX_CHARS_MIN and not set(ref.lower()) - set("0123456789abcdef-"):
        prefix = ref.lower()
        attempts.append((f"{select} AND {id_column} >= ? AND {id_column} < ?", (prefix, prefix + "g")))
    for sql, values in attempts:
        found = rows(db, f"{sql} LIMIT {CANDIDATES_SHOWN + 1}", values)
        if len(found) == 1:
            return found[0]
        if found:
            label = label_column.split(".")[-1]
            lines = [f"{row['id'][: 2 * SHORT_CHARS]} {row.get(label) or row.get('title') or ''}" for row in found]
            raise Ambiguous(f"{ref!r} fits several {noun}s", lines)
    raise NotFound(f"there is no {noun} {ref!r}", f"see `{LISTING[noun]}`" if noun in LISTING else "")


LISTING = {
    "project": "claire project list",
    "task": "claire task list",
    "session": "claire session list",
    "group": "claire group list",
    "node": "claire peer list",
    "broadcast": "claire log",
    "assignment": "claire status",
}
