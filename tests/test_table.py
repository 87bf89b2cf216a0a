"""Every row of the table of bad inputs and faults has a test named after it; a missing one fails here."""

import ast
import os
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from tests.table import PLAIN, POINTS, ROWS, STAR, STARRED, outcomes, rows_of, score

TESTS = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("CLAIRE_SHARED", TESTS.parent.parent / "shared"))
NOT_YET: dict[str, str] = {}  # row -> why it has no test yet; it only shrinks


@cache
def found_by_row() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for row in rows_of(node.name):
                    found[row].append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test_named_after_it(row: str) -> None:
    found = found_by_row()[row]
    if row in NOT_YET and not found:
        pytest.skip(f"not yet: {NOT_YET[row]}")
    assert found, f"no test is named test_{row}_...: {ROWS[row]}"


def test_no_test_names_a_row_that_is_not_there() -> None:
    assert found_by_row().keys() <= ROWS.keys()


def test_it_is_the_table_of_the_review() -> None:
    """Ids, stars and points are those of the review this project was measured by, where that lies beside us."""
    if not (SHARED / "reliability.md").exists():
        pytest.skip("the review is not beside this repository")
    found = dict(re.findall(r"^\| ([WPKDNCS]\d+)( ★)? \|", (SHARED / "reliability.md").read_text(), re.MULTILINE))
    assert {row.lower() for row in found} == set(ROWS)
    assert {row.lower() for row, star in found.items() if star} == set(STARRED)
    assert (len(ROWS), sum(POINTS.values())) == (56, 15 * STAR + 41 * PLAIN)


def test_the_score_counts_what_passed_and_did_not_fail() -> None:
    class Report:
        def __init__(self, nodeid: str) -> None:
            self.nodeid = nodeid

    found = outcomes({"passed": [Report("a.py::test_w1_x"), Report("a.py::test_p4_d7_y[1]"), Report("b.py::test_z")],
                      "failed": [Report("b.py::test_w1_y[cross-site]")]})  # fmt: skip
    assert found == {"passed": {"w1", "p4", "d7"}, "failed": {"w1"}, "error": set(), "skipped": set()}
    assert score(found["passed"], found["failed"]) == (2 * PLAIN, 0)
    assert score(set(ROWS), set()) == (157, 15)
