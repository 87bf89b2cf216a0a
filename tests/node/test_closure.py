"""Who is a member follows from pins, admissions and revocations alone, in whatever order they are heard."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from claire.node import closure as pure
from claire.node import hlc, identity
from tests.node import events as made

KEYS = [identity.Identity(bytes([n]) * 32) for n in range(11, 16)]
OWN = KEYS[0].machine_id


def stamp(second: int, who: identity.Identity) -> str:
    return hlc.encode(made.WALL_MS + second * 1000, 0, who.machine_id)


def admission(issuer: int, machine: int, second: int) -> pure.Admission:
    key = KEYS[machine]
    return (KEYS[issuer].machine_id, key.machine_id, key.public_key.hex(), f"n{machine}", stamp(second, KEYS[issuer]))


def revocation(issuer: int, machine: int, through: int, second: int) -> pure.Revocation:
    return (
        KEYS[issuer].machine_id,
        KEYS[machine].machine_id,
        stamp(through, KEYS[machine]),
        stamp(second, KEYS[issuer]),
    )


def closure(admissions: list[pure.Admission], revocations: list[pure.Revocation]) -> tuple[set[int], dict[int, str]]:
    pins = {OWN: (KEYS[0].public_key.hex(), "own")}
    admissions, revocations = sorted(admissions, key=lambda a: a[4]), sorted(revocations, key=lambda r: r[3])
    admitted, through = pure.closure(OWN, pins, admissions, revocations)
    numbers = {key.machine_id: n for n, key in enumerate(KEYS)}
    return {numbers[m] for m in admitted}, {numbers[m]: cut for m, cut in through.items()}


def test_a_member_admits_a_member() -> None:
    assert closure([admission(0, 1, 1), admission(1, 2, 2)], [])[0] == {0, 1, 2}
    assert closure([admission(1, 2, 2), admission(3, 4, 1)], [])[0] == {0}


def test_a_skewed_admission_counts_though_its_stamp_is_older_than_the_admitters_own() -> None:
    assert closure([admission(0, 1, 10), admission(1, 2, 1)], [])[0] == {0, 1, 2}


def test_what_a_revoked_member_admits_beyond_its_stamp_does_not_count() -> None:
    admitted, through = closure([admission(0, 1, 1), admission(1, 2, 3), admission(1, 3, 9)], [revocation(0, 1, 5, 10)])
    assert through == {1: stamp(5, KEYS[1])}
    assert 2 in admitted


def test_of_two_revocations_the_lower_stamp_holds() -> None:
    both = [revocation(0, 1, 5, 10), revocation(2, 1, 3, 11)]
    assert closure([admission(0, 1, 1), admission(0, 2, 1)], both)[1] == {1: stamp(3, KEYS[1])}


def test_a_revocation_of_ourselves_is_not_obeyed() -> None:
    assert closure([admission(0, 1, 1)], [revocation(1, 0, 0, 5)])[1] == {}


def test_a_revocation_that_would_undo_its_own_issuer_does_not_count() -> None:
    """1 admits 2 late, 2 revokes 1 from before that: obeying would make 2 a stranger whose word is void."""
    assert closure([admission(0, 1, 1), admission(1, 2, 9)], [revocation(2, 1, 5, 10)])[1] == {}


pairs = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=300, deadline=None)
@given(st.lists(pairs, max_size=8), st.lists(pairs, max_size=5), st.randoms(use_true_random=False))
def test_the_closure_ends_and_needs_no_order(
    admits: list[tuple[int, int, int, int]], revokes: list[tuple[int, int, int, int]], rng: random.Random
) -> None:
    admissions = [admission(a, b, second) for a, b, second, _ in admits]
    revocations = [revocation(a, b, through, second) for a, b, second, through in revokes]
    expected = closure(admissions, revocations)
    rng.shuffle(admissions)
    rng.shuffle(revocations)
    assert closure(admissions, revocations) == expected
    assert 0 in expected[0] and 0 not in expected[1]
