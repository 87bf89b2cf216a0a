"""The gate: whom an address of the tailnet answers, and how often Tailscale is asked."""

import pytest

from claire.sync.gate import REMEMBER_S, REMEMBERED_MAX, Gate

TAILNET, LAN, LOOPBACK = ("100.64.0.1", 8766), ("192.168.1.5", 8766), ("127.0.0.1", 8766)


class Tailscale:
    """Says yes to all but some, and counts."""

    def __init__(self, *unknown: str) -> None:
        self.unknown, self.asked = unknown, 0

    async def is_known(self, address: str) -> bool:
        self.asked += 1
        return address not in self.unknown


async def nothing(scope: object, receive: object, send: object) -> None:
    raise AssertionError("the app was entered")


@pytest.mark.parametrize(
    ("server", "client", "opens"),
    [
        (TAILNET, ("100.99.1.2", 4000), True),
        (TAILNET, ("fd7a:115c:a1e0::7", 4000), True),
        (TAILNET, ("192.168.1.77", 4000), False),
        (TAILNET, ("127.0.0.1", 4000), False),
        (TAILNET, ("100.128.0.1", 4000), False),
        (TAILNET, None, False),
        (LAN, ("192.168.1.77", 4000), True),
        (LOOPBACK, ("127.0.0.1", 4000), True),
        (None, None, True),
    ],
)
async def test_p15_a_tailnet_address_answers_the_tailnet_alone(
    server: tuple[str, int] | None, client: tuple[str, int] | None, opens: bool
) -> None:
    assert await Gate(nothing, Tailscale().is_known).opens(server, client) is opens


async def test_p15_a_host_tailscale_does_not_know_is_refused_before_anything_is_read() -> None:
    gate, sent = Gate(nothing, Tailscale("100.99.9.9").is_known), []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await gate({"type": "http", "server": TAILNET, "client": ("100.99.9.9", 1)}, None, send)
    assert sent[0]["status"] == 403 and sent[1]["body"] == b""


async def test_its_word_holds_for_a_while_and_memory_is_bounded() -> None:
    tailscale, now = Tailscale("100.99.9.9"), [0.0]
    gate = Gate(nothing, tailscale.is_known, lambda: now[0])
    for _ in range(5):
        assert not await gate.opens(TAILNET, ("100.99.9.9", 1))
    assert tailscale.asked == 1
    tailscale.unknown = ()
    now[0] = REMEMBER_S
    assert await gate.opens(TAILNET, ("100.99.9.9", 1)) and tailscale.asked == 2
    for number in range(3 * REMEMBERED_MAX):
        await gate.opens(TAILNET, (f"100.{64 + number // 250}.0.{number % 250}", 1))
    assert len(gate._answers) <= REMEMBERED_MAX
