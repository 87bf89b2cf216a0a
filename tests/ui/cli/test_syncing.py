"""What `claire sync status`, `verify` and `wait` say, given what sync found."""

import pytest

from claire.ui.cli import syncing
from claire.ui.cli.context import Context, Result, View

PEER = {
    "id": "a" * 36,
    "name": "web1",
    "state": "behind",
    "behind": {"web1": 3},
    "ahead": {"laptop": 1},
    "skew_ms": 90_000,
    "last_contact_ms": 1_000,
    "last_pull_ms": None,
    "last_push_ms": 1_000,
    "breaker": "open",
    "url": "http://web1:8766",
    "why": "",
}


class Wiring:
    """What the commands ask for, answered without a network."""

    def __init__(self, **answers: object) -> None:
        for name, answer in answers.items():
            setattr(self, name, lambda *_, answer=answer: answer)


def context(monkeypatch: pytest.MonkeyPatch, **answers: object) -> Context:
    monkeypatch.setattr(Context, "node", None)
    return Context({}, lambda: Wiring(**answers), False)  # type: ignore[arg-type,return-value]


def drawn(result: Result) -> str:
    view = View(200, False, True, 61_000)
    lines = result.show(view) if callable(result.show) else result.show
    return "\n".join(line if isinstance(line, str) else "".join(span[0] for span in line) for line in lines)


def test_status_names_what_is_missing_and_of_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    result = syncing.status(context(monkeypatch, sync_status=[PEER]))
    assert result.code == syncing.EXIT_PARTIAL
    for word in ("web1", "behind", "3 of web1", "1 of laptop", "1m ahead", "open", "1m ago"):
        assert word in drawn(result)
    assert syncing.status(context(monkeypatch, sync_status=[{**PEER, "state": "in sync"}])).code == 0


def test_verify_says_whose_index_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"id": "b" * 36, "events": 12, "etag": "0123456789", "wrong": [], "peers": [{**PEER, "state": "in sync"}]}
    good = syncing.verify(context(monkeypatch, sync_verify=found))
    assert good.code == 0 and "12 events counted" in drawn(good)
    bad = syncing.verify(context(monkeypatch, sync_verify={**found, "wrong": [{"id": "c" * 36, "name": "web2"}]}))
    assert bad.code == syncing.EXIT_ERROR and "the index of web2 is wrong" in drawn(bad)


def test_wait_says_on_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"id": "b" * 36, "copies": 1, "wanted": 1, "on": ["web1"]}
    result = syncing.wait(context(monkeypatch, sync_wait=there), None, None)
    assert result.code == 0 and "on web1" in drawn(result)
    result = syncing.wait(context(monkeypatch, sync_wait={**there, "copies": 0, "on": []}), 1, 5)
    assert result.code == syncing.EXIT_PARTIAL and result.notes
