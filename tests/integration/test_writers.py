"""One database, many writers: the daemon and eight processes at once lose nothing and never say "locked"."""

from pathlib import Path

from claire.node import decisions, projects
from claire.node.node import Node
from tests.integration.nodes import ProcessNode, equal, pair, until
from tests.node.test_node import sound, spawn

WRITERS = 8
APPENDS = 500


def test_d6_many_writers_lose_nothing_and_never_say_locked(tmp_path: Path) -> None:
    one, other = ProcessNode(tmp_path, "one"), ProcessNode(tmp_path, "other")
    one.start()
    other.start()
    pair(one, other)
    project = one.json("project", "new", "api")["id"]
    with Node(one.home) as node:
        writers = [spawn(node, project, APPENDS) for _ in range(WRITERS)]
        with Node(other.home) as elsewhere:  # so that the daemon has something to write meanwhile
            until(lambda: project in {row["id"] for row in other.json("project", "list")})
            brought = {decisions.decide(elsewhere, project, f"there {n}")["id"] for n in range(100)}
        outputs = [writer.communicate() for writer in writers]
        endings = [(writer.returncode, errors) for writer, (_, errors) in zip(writers, outputs, strict=True)]
        assert endings == [(0, "")] * WRITERS
        acknowledged = {line for output, _ in outputs for line in output.split()}
        assert len(acknowledged) == WRITERS * APPENDS
        until(lambda: equal(one, other))
        with node.reading() as db:
            stored = {uuid for (uuid,) in db.execute("SELECT uuid FROM events WHERE event_type = 'decision_logged'")}
            (shown,) = projects.list_projects(db)
        assert stored == acknowledged | brought and shown["id"] == project
        sound(node)
    assert one.stop() < 5 and other.stop() < 5
    assert "locked" not in one.log.read_text() + other.log.read_text()
