"""Packed bodies come back the same, and a bomb is stopped before it is large."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.sync.pack import pack, unpack
from claire.sync.wire import BATCH_BYTES_MAX, Malformed


@given(st.binary())
def test_what_is_packed_comes_back(body: bytes) -> None:
    assert unpack(pack(body)) == body


def test_p6_a_bomb_is_not_inflated() -> None:
    bomb = pack(b"\0" * 300_000_000)
    tracemalloc.start()
    with pytest.raises(Malformed, match="larger"):
        unpack(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(bomb) < 100_000 and peak < 4 * BATCH_BYTES_MAX


@given(st.binary())
def test_anything_else_is_malformed(body: bytes) -> None:
    for odd in (body, pack(body)[:-1], pack(body) + b"x"):
        with pytest.raises(Malformed):
            unpack(odd)
