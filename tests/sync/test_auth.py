"""Signed requests: what proves who asks, and what does not."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.node.identity import Identity
from claire.sync import auth
from claire.sync.auth import SKEW_MS_MAX, Door, Request, Unauthorized, sign, sign_answer

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
KEYS = {ALICE.machine_id: ALICE.public_key}
NOW = 1_790_000_000_000
REQUEST, BODY = Request("POST", "/api/sync/events?limit=5"), b'{"a":1}'


def door() -> Door:
    return Door(BOB.machine_id, "boot1")


def header(now_ms: int = NOW, nonce: str = "n1", audience: str = "", by: Identity = ALICE) -> str:
    return sign(by, REQUEST, BODY, audience or door().audience, now_ms, nonce)


def test_a_member_is_let_in_once() -> None:
    bob = door()
    claim = bob.admit(REQUEST, header(), KEYS, NOW)
    assert (claim.machine_id, claim.nonce) == (ALICE.machine_id, "n1") and claim.covers(BODY)
    with pytest.raises(Unauthorized, match="before"):
        bob.admit(REQUEST, header(), KEYS, NOW)
    assert bob.admit(REQUEST, header(nonce="n2"), KEYS, NOW)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (REQUEST._replace(method="GET"), "verify"),
        (REQUEST._replace(target="/api/sync/events"), "verify"),
    ],
)
def test_p3_a_signature_covers_method_and_target(request_: Request, why: str) -> None:
    with pytest.raises(Unauthorized, match=why):
        door().admit(request_, header(), KEYS, NOW)


def test_p3_a_signature_covers_the_body() -> None:
    claim = door().admit(REQUEST, header(), KEYS, NOW)
    assert claim.covers(BODY) and not claim.covers(b"") and not claim.covers(BODY + b" ")
    with pytest.raises(Unauthorized, match="verify"):
        door().admit(REQUEST, header().replace(auth.hash_of(BODY), auth.hash_of(b"other")), KEYS, NOW)


def test_p3_of_two_equal_requests_at_once_one_is_let_in() -> None:
    for _ in range(20):
        bob, made = door(), header()

        def admitted(_: int, bob: Door = bob, made: str = made) -> bool:
            try:
                return bool(bob.admit(REQUEST, made, KEYS, NOW))
            except Unauthorized:
                return False

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(admitted, range(8))) == 1


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (header(audience=f"{ALICE.machine_id}/boot1"), "verify"),
        (header(audience=f"{BOB.machine_id}/boot0"), "verify"),
        (header(by=BOB), "not a member"),
        (header().replace("Claire1", "Bearer"), "not signed"),
        (header().replace(":n1:", ":n9:"), "verify"),
        (header().replace(str(NOW), str(NOW + 1)), "verify"),
        ("", "not signed"),
        ("Claire1 a:b:c:d", "not signed"),
        ("Claire1 a:b:c:d:e", "not signed"),
        ("Claire1 " + "x" * 10_000, "not signed"),
    ],
)
def test_p3_wrong_recipient_signer_or_form(made: str, why: str) -> None:
    with pytest.raises(Unauthorized, match=why):
        door().admit(REQUEST, made, KEYS, NOW)


@pytest.mark.parametrize(("off_ms", "words"), [(3_600_000, "3600 s ahead of mine"), (-3_600_000, "3600 s behind mine")])
def test_p3_a_clock_that_is_off_is_told_by_how_much(off_ms: int, words: str) -> None:
    with pytest.raises(Unauthorized, match=words):
        door().admit(REQUEST, header(NOW + off_ms), KEYS, NOW)
    assert door().admit(REQUEST, header(NOW + SKEW_MS_MAX), KEYS, NOW)


def test_nonces_are_forgotten_when_their_time_is_over_and_never_before() -> None:
    bob = door()
    bob.admit(REQUEST, header(NOW + SKEW_MS_MAX), KEYS, NOW)
    later = NOW + 2 * SKEW_MS_MAX - 1
    with pytest.raises(Unauthorized):
        bob.admit(REQUEST, header(NOW + SKEW_MS_MAX), KEYS, later)
    bob.admit(REQUEST, header(later + 2, "n2"), KEYS, later + 2)
    assert len(bob._nonces[ALICE.machine_id]) == 1


def test_memory_for_nonces_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "NONCES_MAX", 3)
    bob = door()
    for number in range(3):
        bob.admit(REQUEST, header(nonce=f"n{number}"), KEYS, NOW)
    with pytest.raises(Unauthorized) as refused:
        bob.admit(REQUEST, header(nonce="n4"), KEYS, NOW)
    assert refused.value.status == 503
    carol = Identity(b"c" * 32)
    keys = KEYS | {carol.machine_id: carol.public_key}
    assert bob.admit(REQUEST, header(by=carol), keys, NOW), "a flood of one member keeps out that one alone"


@given(st.text())
def test_odd_headers_never_raise_anything_else(text: str) -> None:
    with pytest.raises(Unauthorized):
        door().admit(REQUEST, text, KEYS, NOW)


def test_an_answer_is_bound_to_its_request() -> None:
    given_ = ("n1", 200, b"body")
    signature = sign_answer(BOB, *given_)
    assert auth.answer_is_signed(BOB.public_key, *given_, signature)
    for other in (("n2", 200, b"body"), ("n1", 201, b"body"), ("n1", 200, b"bodY")):
        assert not auth.answer_is_signed(BOB.public_key, *other, signature)
    assert not auth.answer_is_signed(ALICE.public_key, *given_, signature)
    assert not auth.answer_is_signed(BOB.public_key, *given_, os.urandom(40).hex())
