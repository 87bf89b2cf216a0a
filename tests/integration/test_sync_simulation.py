"""Seeded fleets under every misfortune come to hold the same and lose nothing; and the harness can fail."""

import os

import pytest

from tests.sync.bugs import BUGS
from tests.sync.fleet import templates
from tests.sync.light import report
from tests.sync.simulation import first_failure, repro

SEEDS = int(os.environ.get("SEEDS", "2000"))
SHARES = 20
BUG_SEEDS_MAX = 200


@pytest.mark.parametrize("share", range(SHARES))
def test_n1_fleets_agree_and_lose_nothing(share: int) -> None:
    with templates():
        failed = first_failure(range(share, SEEDS, SHARES))
    if failed:
        pytest.fail(f"{failed[1]}\nrepro: {repro(failed[0])}")


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_the_harness_finds_a_known_bug(bug: str) -> None:
    with templates():
        assert first_failure(range(BUG_SEEDS_MAX), bug=bug), f"{bug} was not found in {BUG_SEEDS_MAX} seeds"


@pytest.mark.parametrize("nodes", [10, 100, 1000])
def test_a_write_reaches_a_large_fleet_in_few_rounds(nodes: int) -> None:
    found = report(nodes)
    print(found)
    assert found.hops <= found.limit
