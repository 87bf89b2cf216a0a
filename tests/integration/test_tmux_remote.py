"""A message from one host to a session on another: real nodes, a real tmux; refused, allowed, asleep, killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.kit import FakeHost, FakePane, host
from tests.integration.nodes import ProcessNode, pair, until

__all__ = ["host"]


class Two:
    """alpha, where a person sits, and beta, where the session is."""

    def __init__(self, root: Path, host: FakeHost) -> None:
        nothing = {"HOME": str(root / "nobody"), "TMUX_TMPDIR": str(root / "nobody"), "CLAUDE_CONFIG_DIR": ""}
        self.host = host
        self.alpha = ProcessNode(root, "alpha", **nothing)
        self.beta = ProcessNode(root, "beta", **{**nothing, **host.env})
        for node in (self.alpha, self.beta):
            node.module = "tests.integration.patient"
            node.start()
        pair(self.alpha, self.beta)

    def meet(self, pane: FakePane) -> str:
        """Until alpha knows the session of this pane."""
        session = pane.session_id
        until(lambda: session in {row["id"] for row in self.alpha.json("session", "list")})
        return session

    def outcomes(self) -> list[str]:
        """What alpha knows came of its messages, oldest first."""
        events = self.alpha.json("log", "-n", "500")
        return [row["payload"]["outcome"] for row in events if row["event_type"] == "broadcast_delivered"]

    def wait(self, *outcomes: str) -> None:
        wanted = sorted(outcomes)
        until(lambda: sorted(self.outcomes()) == wanted, why=lambda: repr(self.outcomes()) + self.beta.log.read_text())

    def typed(self) -> list[str]:
        return [line["display"].partition("] ")[2] for line in self.host.history()]


@pytest.fixture
def two(tmp_path: Path, host: FakeHost) -> Iterator[Two]:
    both = Two(tmp_path, host)
    yield both
    both.alpha.kill()
    both.beta.kill()


def test_k6_over_the_network(two: Two) -> None:
    pane = two.host.start_idle(FAKE_SLOW_SECONDS="600")
    session = two.meet(pane)
    two.alpha.claire("send", session[:8], "--", "not yet")
    two.wait("refused")
    two.beta.claire("peer", "allow-send", "alpha")
    two.alpha.claire("send", session[:8], "--", "welcome")
    two.wait("refused", "delivered")
    assert two.host.history()[-1]["display"].endswith(" from alpha] welcome")

    # It waits for a busy session, and for a host that is asleep.
    pane.wait_idle()
    pane.submit("SLOW work")
    pane.wait_status("busy")
    two.alpha.claire("send", session[:8], "--", "when you are done")
    two.beta.kill()
    two.alpha.claire("send", session[:8], "--expire", "1s", "--", "too late")
    pane.keys("Escape")
    pane.wait_status("idle")
    time.sleep(1)  # until that is over
    two.beta.start()
    two.wait("refused", "delivered", "delivered", "expired")
    assert two.typed() == ["welcome", "", "when you are done"]

    # Waiting for it says what became of it.
    pane.wait_idle()
    assert "delivered" in two.alpha.claire("send", session[:8], "--wait", "--", "are you there")


def test_k2_the_daemon_is_killed_while_it_delivers(two: Two) -> None:
    """Each message at most once, and an outcome for each, however often the daemon dies."""
    two.beta.module = "claire"  # from the second time on: what was cut short is not worth a longer wait
    pane = two.host.start_idle()
    session = two.meet(pane)
    two.beta.claire("peer", "allow-send", "alpha")
    for number in range(4):
        two.alpha.claire("send", session[:8], "--", f"message {number}")
        until(lambda number=number: pane.screen().count(f"message {number}") > 0)  # type: ignore[misc]
        two.beta.kill()
        two.beta.start()
        until(lambda number=number: len(two.outcomes()) == number + 1, why=lambda: repr(two.outcomes()))  # type: ignore[misc]
        pane.keys("C-u")  # what was pasted and not submitted
    assert set(two.outcomes()) <= {"delivered", "unverified", "refused"}
    assert all(two.typed().count(f"message {number}") <= 1 for number in range(4))
