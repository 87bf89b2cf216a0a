"""Groups, on the page of sessions: a name for those whose folder, host or name matches a pattern."""

from typing import TYPE_CHECKING

from claire.node import groups
from claire.ui.ask import Ask, Done

if TYPE_CHECKING:
    from claire.node.node import Node


def define(node: "Node", ask: Ask) -> Done:
    group = groups.define(node, ask.one("name").strip(), ask.one("pattern").strip())
    return Done(f"{group['name']} is {group['pattern']}.")


def remove(node: "Node", ask: Ask) -> Done:
    return Done(f"{groups.remove(node, ask.one('name'))['name']} is removed; its sessions stay.")
