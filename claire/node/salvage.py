"""What can still be read of a damaged database: events and pins straight from its pages, whatever else is broken.

SQLite gives up where a page that leads to others is damaged. Here every page is looked at by itself, of the file and
of its -wal: a leaf page holds whole rows (https://www.sqlite.org/fileformat2.html). A row is only a claim: an event is
what its signature proves, a pin a key that makes its machine id.
"""

import mmap
import os
from collections.abc import Iterator

from claire.node import members
from claire.node.event import Event, read_body
from claire.node.form import malformed

MAGIC = b"SQLite format 3\0"
PAGE_BYTES = 4096  # where the header that says it cannot be read
TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A
EVENT_COLUMNS = 8  # the rowid and seven texts
PIN_COLUMNS = 3
OVERFLOW_PAGES_MAX = 64  # an event has at most 64 KiB

Values = list[str | None]


class Wreck:
    """The pages of a damaged database and of its -wal, by number where one row goes on in another page."""

    def __init__(self, path: str) -> None:
        self.file, self.wal = _mapped(path), _mapped(f"{path}-wal")
        said = int.from_bytes(self.file[16:18], "big") if self.file[:16] == MAGIC else 0
        said = 65536 if said == 1 else said
        self.size = said if 512 <= said <= 65536 and said & (said - 1) == 0 else PAGE_BYTES
        self.newer = {number: at for number, at in self._frames()}

    def pages(self) -> Iterator[memoryview]:
        """Every page there is, older versions of the -wal included."""
        for at in range(0, len(self.file) - self.size + 1, self.size):
            yield memoryview(self.file)[at : at + self.size]
        for _, at in self._frames():
            yield memoryview(self.wal)[at : at + self.size]

    def _frames(self) -> Iterator[tuple[int, int]]:
        """(page number, where it stands) of each frame of the -wal."""
        for at in range(32, len(self.wal) - self.size - 23, self.size + 24):
            yield int.from_bytes(self.wal[at : at + 4], "big"), at + 24

    def page(self, number: int) -> bytes:
        if number in self.newer:
            at = self.newer[number]
            return bytes(self.wal[at : at + self.size])
        return bytes(self.file[(number - 1) * self.size : number * self.size])


def _mapped(path: str) -> mmap.mmap | bytes:
    if not os.path.exists(path) or not os.path.getsize(path):
        return b""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def events(path: str) -> Iterator[Event]:
    """Every row that has the form of an event; which are genuine, `Node.receive` decides."""
    for values in _rows(path, EVENT_COLUMNS):
        texts = [value for value in values[1:] if value is not None]
        if values[0] is None and len(texts) == EVENT_COLUMNS - 1:
            event = Event(*texts)
            if malformed(event, read_body(event)) is None:
                yield event


def pins(path: str) -> Iterator[tuple[str, str, str]]:
    """(machine id, public key, name) of each node that was trusted here of its own."""
    for machine, key, name in _rows(path, PIN_COLUMNS):
        if machine and key and name is not None and members.proves(key, machine):
            yield machine, key, name


def _rows(path: str, columns: int) -> Iterator[Values]:
    wreck = Wreck(path)
    for page in wreck.pages():
        yield from _rows_of(wreck, page, 100 if page[:16] == MAGIC else 0, columns)


def _rows_of(wreck: Wreck, page: memoryview, start: int, columns: int) -> Iterator[Values]:
    kind = page[start]
    if kind not in (TABLE_LEAF, INDEX_LEAF):
        return
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for at in range(start + 8, min(start + 8 + 2 * cells, len(page) - 1), 2):
        try:
            record = _payload(wreck, page, int.from_bytes(page[at : at + 2], "big"), kind)
            values = _texts(record, columns)
        except (IndexError, UnicodeDecodeError):
            continue  # this row is damaged; the next need not be
        if values is not None:
            yield values


def _payload(wreck: Wreck, page: memoryview, at: int, kind: int) -> bytes:
    """The whole record of a cell; a long one goes on in overflow pages."""
    length, at = _varint(page, at)
    if kind == TABLE_LEAF:
        _, at = _varint(page, at)  # rowid
    usable = wreck.size  # Claire reserves no bytes at the end of a page
    most = usable - 35 if kind == TABLE_LEAF else (usable - 12) * 64 // 255 - 23
    if length <= most:
        return bytes(page[at : at + length])
    least = (usable - 12) * 32 // 255 - 23
    here = least + (length - least) % (usable - 4)
    here = here if here <= most else least
    record = bytearray(page[at : at + here])
    following = int.from_bytes(page[at + here : at + here + 4], "big")
    for _ in range(OVERFLOW_PAGES_MAX):
        if not following or len(record) >= length:
            break
        overflow = wreck.page(following)
        record += overflow[4:usable]
        following = int.from_bytes(overflow[:4], "big")
    return bytes(record[:length])


def _texts(record: bytes, columns: int) -> Values | None:
    """The columns of a record if it has exactly so many, each a text or NULL."""
    end, at = _varint(record, 0)
    sizes: list[int | None] = []
    while at < end:
        serial, at = _varint(record, at)
        if serial != 0 and (serial < 13 or serial % 2 == 0):
            return None
        sizes.append((serial - 13) // 2 if serial else None)
    if len(sizes) != columns or sum(filter(None, sizes)) != len(record) - end:
        return None
    values: Values = []
    for size in sizes:
        values.append(None if size is None else record[end : end + size].decode())
        end += size or 0
    return values


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """SQLite's integer of one to nine bytes, and where it ends."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9
