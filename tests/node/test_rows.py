"""What a person types, and what it means."""

import pytest

from claire.node import tasks
from claire.node.errors import Ambiguous
from claire.node.node import Node
from tests.node.doing import read


def test_an_ambiguous_prefix_lists_the_candidates(node: Node) -> None:
    ids = iter(["abcdef00-0000-4000-8000-000000000001", "abcdef00-0000-4000-8000-000000000002"])
    with node.writing() as tx:
        for id_ in ids:
            tx.record(tasks.TaskCreated(id_, "p", f"title {id_[-1]}"))
    with pytest.raises(Ambiguous) as caught:
        read(node, tasks.find, "abcd")
    assert len(caught.value.candidates) == 2 and "title 1" in caught.value.candidates[0]
