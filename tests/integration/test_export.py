"""The log as a file for other tools: the line without the extra, and the two questions of docs/analytics.md."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from claire.node import projects, sessions, tasks
from claire.node.node import Node
from claire.ui import parquet
from tests.conftest import Clock
from tests.integration.nodes import ProcessNode

ROOT = Path(__file__).resolve().parents[2]


def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "a")
    hidden = tmp_path / "hidden" / "pyarrow"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('pyarrow')\n")
    env = {**node.env, "PYTHONPATH": f"{hidden.parent}:{ROOT}"}
    argv = [sys.executable, "-m", "claire", "export", "x.parquet", "--format", "parquet"]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "claire[parquet]" in done.stderr
    assert not list(tmp_path.glob("x.parquet*"))


def test_a_log_goes_from_node_to_node_in_a_file(tmp_path: Path) -> None:
    a, b = ProcessNode(tmp_path, "a"), ProcessNode(tmp_path, "b")
    a.claire("project", "new", "api")
    path = str(tmp_path / "log.ndjson")
    a.claire("export", path)
    refused = b.json("import", path, code=5)
    assert refused["accepted"] == 0 and "member" in refused["refused"][0]["why"]
    a.claire("export", path, code=5)
    stats = a.json("log", "stats")
    assert stats["events"] == 2 and {row["event_type"] for row in stats["kinds"]} == {"node_joined", "project_created"}


def test_the_questions_of_the_docs_have_answers(node: Node, clock: Clock, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra claire[parquet] is not installed")
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    project = projects.create(node, "api")["id"]
    slow = tasks.add(node, project, "slow")["id"]
    seen = {"session_uuid": node.new_id(), "host": "alpha"}
    for state, minutes in (("permission", 7), ("working", 20), ("permission", 5), ("idle", 28)):
        sessions.observe(node, [sessions.Observation(**seen, state=state)])
        clock.now_ms += minutes * 60_000
    tasks.set_status(node, slow, "done")
    count = parquet.write(node, str(tmp_path / "log.parquet"), 0)
    assert (tmp_path / "log.parquet").stat().st_mode & 0o777 == 0o600
    text = (ROOT / "docs" / "analytics.md").read_text()
    asked = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    done, waiting = (sql.replace("log.parquet", str(tmp_path / "log.parquet")) for sql in asked)
    assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/log.parquet'").fetchall() == [(count,)]
    ((name, finished, half, _),) = duckdb.sql(done).fetchall()
    assert (name, finished, half.total_seconds()) == ("api", 1, 3600)
    assert duckdb.sql(waiting).fetchall() == [("alpha", 12, 2)]
