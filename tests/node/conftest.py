"""Fixtures of the nouns' tests."""

import pytest

from claire.node import projects, tasks
from claire.node.node import Node
from claire.node.rows import Row


@pytest.fixture
def task(node: Node) -> Row:
    return tasks.add(node, projects.create(node, "api")["id"], "write it", priority=1)
