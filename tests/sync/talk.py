"""Rounds between nodes of one process, with no network between them."""

from collections.abc import Callable

from claire.node.node import Node
from claire.sync.answers import answer
from claire.sync.messages import Answer, Ask
from claire.sync.round import Exchange, Steps, exchange_steps


def converse(node: Node, peer: Node, asked: list[Ask] | None = None) -> Exchange:
    """A round; `asked` gets the requests it took."""
    return play(node, lambda ask: answer(peer, ask), asked)


def play(
    node: Node,
    reply: Callable[[Ask], Answer],
    asked: list[Ask] | None = None,
    steps_of: Callable[[Node, Exchange], Steps] = exchange_steps,
) -> Exchange:
    tally = Exchange()
    steps = steps_of(node, tally)
    given: Answer | None = None
    while True:
        try:
            ask = steps.send(given)  # type: ignore[arg-type]  # the first is None
        except StopIteration:
            return tally
        if asked is not None:
            asked.append(ask)
        given = reply(ask)
