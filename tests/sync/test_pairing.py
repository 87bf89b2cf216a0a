"""An invite lets exactly one other node in, within ten minutes, and only who knows its secret."""

import threading
from collections.abc import Callable

import msgspec
import pytest

from claire.node import members
from claire.node.errors import Refused, UsageError
from claire.node.node import Node
from claire.sync import pairing
from claire.sync.pairing import BAD_TRIES_MAX, INVITE_MS, Invite, Join
from tests.conftest import Clock

MakeNode = Callable[..., Node]
NONCE = "0" * 32


@pytest.fixture
def alpha(make_node: MakeNode) -> Node:
    return make_node("alpha")


@pytest.fixture
def beta(make_node: MakeNode) -> Node:
    return make_node("beta")


def others(node: Node) -> set[str]:
    with node.reading() as db:
        return members.keys(db).keys() - {node.machine_id}


def line_of(node: Node) -> Invite:
    made = msgspec.structs.replace(pairing.invite(node), addresses=["http://127.0.0.1:8766", "http://[::1]:9"])
    text = pairing.write_line(made)
    assert pairing.read_line(f"  {text}\n") == made and " " not in text
    return made


def test_both_sides_admit_each_other(alpha: Node, beta: Node) -> None:
    line = line_of(alpha)
    sent = pairing.ask(beta, line, "beta", NONCE)
    welcome = pairing.welcome(alpha, sent, "alpha", NONCE)
    assert pairing.accept(beta, line, sent, welcome) == alpha.machine_id == line.machine_id
    assert (others(alpha), others(beta)) == ({beta.machine_id}, {alpha.machine_id})


def test_p12_an_invite_works_once(alpha: Node, beta: Node, make_node: MakeNode) -> None:
    line = line_of(alpha)
    pairing.welcome(alpha, pairing.ask(beta, line, "beta", NONCE), "alpha", NONCE)
    with pytest.raises(Refused, match="it was used"):
        pairing.welcome(alpha, pairing.ask(make_node("gamma"), line, "gamma", NONCE), "alpha", NONCE)
    assert others(alpha) == {beta.machine_id}


def test_p12_an_invite_ends_after_ten_minutes(alpha: Node, beta: Node, clock: Clock) -> None:
    line = line_of(alpha)
    clock.now_ms += INVITE_MS
    with pytest.raises(Refused):
        pairing.welcome(alpha, pairing.ask(beta, line, "beta", NONCE), "alpha", NONCE)
    assert others(alpha) == set()


def test_the_invite_of_the_node_one_was_copied_from_says_what_to_do(alpha: Node) -> None:
    with pytest.raises(Refused) as refused:
        pairing.ask(alpha, line_of(alpha), "alpha", NONCE)
    assert "rotate --copy" in refused.value.hint


def test_p12_five_wrong_secrets_end_it(alpha: Node, beta: Node) -> None:
    line = line_of(alpha)
    wrong = msgspec.structs.replace(line, secret="f" * 32)
    for _ in range(BAD_TRIES_MAX):
        with pytest.raises(Refused):
            pairing.welcome(alpha, pairing.ask(beta, wrong, "beta", NONCE), "alpha", NONCE)
    with pytest.raises(Refused):
        pairing.welcome(alpha, pairing.ask(beta, line, "beta", NONCE), "alpha", NONCE)
    assert others(alpha) == set()


def test_p12_of_two_that_race_one_gets_in(alpha: Node, make_node: MakeNode) -> None:
    line = line_of(alpha)
    joins = [pairing.ask(make_node(name), line, name, NONCE) for name in ("beta", "gamma", "delta", "epsilon")]
    start, won = threading.Barrier(len(joins)), []

    def race(join: Join) -> None:
        start.wait()
        try:
            won.append(pairing.welcome(alpha, join, "alpha", NONCE))
        except Refused:
            return

    threads = [threading.Thread(target=race, args=(join,)) for join in joins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(others(alpha)) == 1


@pytest.mark.parametrize("field", ["public_key", "name", "nonce", "mac"])
def test_every_field_of_a_join_is_proved(alpha: Node, beta: Node, field: str) -> None:
    sent = pairing.ask(beta, line_of(alpha), "beta", NONCE)
    changed = getattr(sent, field)[:-1] + ("0" if getattr(sent, field)[-1] != "0" else "1")
    with pytest.raises(Refused):
        pairing.welcome(alpha, msgspec.structs.replace(sent, **{field: changed}), "alpha", NONCE)
    assert others(alpha) == set()


def test_an_impostor_of_the_inviter_is_not_admitted(alpha: Node, beta: Node, make_node: MakeNode) -> None:
    line = line_of(alpha)
    sent = pairing.ask(beta, line, "beta", NONCE)
    fake = make_node("fake")
    answer = pairing.welcome(alpha, sent, "alpha", NONCE)
    for changed in ({"mac": "0" * 64}, {"name": "other"}, {"nonce": "1" * 32}):
        with pytest.raises(Refused, match="secret"):
            pairing.accept(beta, line, sent, msgspec.structs.replace(answer, **changed))
    assert others(beta) == set() and fake.machine_id not in others(beta)


def test_the_database_does_not_hold_the_secret(alpha: Node) -> None:
    line = line_of(alpha)
    with alpha.reading() as db:
        assert line.secret not in "".join(db.iterdump())


def test_a_revoked_key_does_not_come_back(alpha: Node, beta: Node) -> None:
    pairing.welcome(alpha, pairing.ask(beta, line_of(alpha), "beta", NONCE), "alpha", NONCE)
    members.revoke(alpha, beta.machine_id)
    with pytest.raises(Refused, match="revoked"):
        pairing.welcome(alpha, pairing.ask(beta, line_of(alpha), "beta", NONCE), "alpha", NONCE)


@pytest.mark.parametrize(
    "text", ["", "claire:", "hello", "claire:AAAA@h", f"claire:{'A' * 75}@", f"claire:{'A' * 75}@h/x"]
)
def test_what_is_no_invite(text: str) -> None:
    with pytest.raises(UsageError, match="not an invite"):
        pairing.read_line(text)
