"""One bell for the fleet: who rings, when, and what the command of the user is given."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from claire.fleet import notify
from claire.fleet.notify import FRESH_MS, HOLD_MS, SETTLE_MS, Notifier
from claire.node import log, projects, sessions, tasks, updates
from claire.node.errors import UsageError
from claire.node.node import Node, wall_ms
from claire.node.notices import Matter
from tests.conftest import Clock, befriend

TEMPLATE = ["notify-send", "Claire", "{text}"]
ONE, TWO = "5e551011-0000-4000-8000-000000000001", "5e551022-0000-4000-8000-000000000002"


class Bell:
    """A node's notifier, and what it would have run."""

    def __init__(self, node: Node) -> None:
        self.rung: list[str] = []
        self.notifier = Notifier(node, TEMPLATE, lambda argv, more: self.rung.append(argv[-1]))
        self.notifier.look()


def waits(node: Node, since_ms: int, session: str = ONE, state: str = "permission", **more: str) -> None:
    sessions.observe(
        node,
        [sessions.Observation(session_uuid=session, host="alpha", state=state, since_ms=since_ms, **more)],  # type: ignore[arg-type]
    )


def pass_time(clock: Clock, bells: list[Bell], ms: int, step_ms: int = 500) -> None:
    for _ in range(ms // step_ms):
        clock.now_ms += step_ms
        for bell in bells:
            bell.notifier.look()


def exchange(*nodes: Node) -> None:
    for one in nodes:
        for other in nodes:
            with one.reading() as db:
                events = log.since(db, "", 10_000)
            other.receive(events)


def test_it_rings_once_for_what_still_waits(node: Node, clock: Clock) -> None:
    bell = Bell(node)
    waits(node, clock.now_ms, name="api", waiting_for="Bash")
    pass_time(clock, [bell], HOLD_MS)
    assert bell.rung == []
    pass_time(clock, [bell], 60_000)
    assert bell.rung == ["1 needs you: api on alpha, permission: Bash"]
    waits(node, clock.now_ms, state="working")
    pass_time(clock, [bell], 20_000)
    waits(node, clock.now_ms, state="error")
    pass_time(clock, [bell], 20_000)
    assert bell.rung[1:] == ["1 needs you: 5e551011 on alpha, error"]


def test_what_is_answered_at_once_makes_no_noise_and_no_event(node: Node, clock: Clock) -> None:
    bell = Bell(node)
    waits(node, clock.now_ms)
    pass_time(clock, [bell], HOLD_MS - 500)
    waits(node, clock.now_ms, state="working")
    with node.reading() as db:
        before = log.etag(db)
    pass_time(clock, [bell], 20_000)
    with node.reading() as db:
        assert (bell.rung, log.etag(db)) == ([], before)


def test_no_noise_at_the_start_and_none_for_old_news(node: Node, clock: Clock) -> None:
    waits(node, clock.now_ms)
    bell = Bell(node)
    pass_time(clock, [bell], 20_000)
    waits(node, clock.now_ms - FRESH_MS - 1, TWO, "question")
    pass_time(clock, [bell], 20_000)
    assert bell.rung == []


@pytest.mark.parametrize("state", ["idle", "working", "dialog", "interrupted", "rate-limited", "gone", "unknown"])
def test_other_states_can_wait(node: Node, clock: Clock, state: str) -> None:
    bell = Bell(node)
    waits(node, clock.now_ms, state=state)
    pass_time(clock, [bell], 20_000)
    assert bell.rung == []


def test_a_burst_is_one_line(node: Node, clock: Clock) -> None:
    bell = Bell(node)
    for n in range(6):
        waits(node, clock.now_ms + n, f"{n}e551011-0000-4000-8000-000000000001", name=f"s{n}")
    pass_time(clock, [bell], 20_000)
    (said,) = bell.rung
    assert said.startswith("6 need you: s0 on alpha, permission + s1") and said.endswith(" + 2 more")


def test_a_source_that_dates_it_differently_is_no_second_matter(node: Node, clock: Clock) -> None:
    bell = Bell(node)
    since_ms = clock.now_ms
    waits(node, since_ms)
    pass_time(clock, [bell], HOLD_MS)
    waits(node, since_ms + 6_400, pane="%1")  # the Notification hook comes 6.4 s after the prompt
    pass_time(clock, [bell], 20_000)
    assert len(bell.rung) == 1


def test_one_node_of_the_fleet_rings(make_node: Callable[..., Node], clock: Clock) -> None:
    nodes = [make_node(name) for name in ("alpha", "beta", "gamma")]
    befriend(*nodes)
    exchange(*nodes)
    bells = [Bell(node) for node in nodes]
    waits(nodes[0], clock.now_ms)
    exchange(*nodes)
    pass_time(clock, bells, HOLD_MS)  # each says that it will, at the same moment
    exchange(*nodes)
    pass_time(clock, bells, SETTLE_MS)
    exchange(*nodes)
    pass_time(clock, bells, 20_000)
    assert sum(len(bell.rung) for bell in bells) == 1
    late = Bell(make_node("delta"))
    assert late.rung == []


def test_cut_off_nodes_ring_each(make_node: Callable[..., Node], clock: Clock) -> None:
    """Nobody can know better there; once they meet again, nobody rings again."""
    nodes = [make_node(name) for name in ("alpha", "beta")]
    befriend(*nodes)
    exchange(*nodes)
    bells = [Bell(node) for node in nodes]
    waits(nodes[0], clock.now_ms)
    exchange(*nodes)
    pass_time(clock, bells, 20_000)
    exchange(*nodes)
    pass_time(clock, bells, 20_000)
    assert [len(bell.rung) for bell in bells] == [1, 1]


def test_a_question_of_an_agent_rings_too(node: Node, clock: Clock) -> None:
    waits(node, clock.now_ms, state="working")
    task = tasks.add(node, projects.create(node, "api")["id"], "fix it")
    bell = Bell(node)
    updates.note(node, task["id"], "which Tuesday?", "question")
    tasks.set_status(node, task["id"], "blocked")
    pass_time(clock, [bell], 20_000)
    assert bell.rung == ["1 needs you: fix it, question: which Tuesday?"]


def test_what_others_wrote_stays_one_inert_argument() -> None:
    hostile = Matter(ONE, "permission", 1, "--icon=x\x1b[2J\n$(id)", "-h\u202e", "`id`;\0" + "y" * 500)
    argv, more = notify.command(TEMPLATE, [hostile])
    assert argv[:2] == TEMPLATE[:2] and len(argv) == 3
    assert argv[2].startswith("1 needs you: --icon=x 2J id on -h, permission: id yyy")
    assert all(value.isprintable() for value in (*argv, *more.values())) and len(argv[2]) < 300
    assert more["CLAIRE_TEXT"] == argv[2] and more["CLAIRE_COUNT"] == "1"


def test_what_others_wrote_is_nothing_to_who_reads_it_again(tmp_path: Path) -> None:
    """A command may hand the text on to a shell of another host, or to tmux, which runs what stands in `#(...)`."""
    evil = f"touch {tmp_path}/a #(touch {tmp_path}/b)$(touch {tmp_path}/c)`touch {tmp_path}/d`;\n|touch {tmp_path}/e"
    matter = Matter(ONE, "permission", 1, evil, evil, evil)
    _, more = notify.command(TEMPLATE, [matter] * 3)
    for said in more.values():
        subprocess.run(["sh", "-c", f"echo {said}"], capture_output=True, check=True, cwd=tmp_path)
        assert not notify.ACTIVE & {*said}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "template",
    [
        ["notify-send", "Claire: {text}"],
        ["{text}"],
        ["sh", "-c", "{text}"],
        ["/bin/bash", "-c", "notify $0", "{text}"],
        ["sh", "-c", "notify-send '{text}'"],
        ["ssh", "desk", "notify-send", "{text}"],
        ["env", "sh", "-c", "{text}"],
        ["tmux", "display-message", "{text}"],
    ],
)
def test_a_template_that_would_be_run_is_refused(template: list[str]) -> None:
    with pytest.raises(UsageError, match="notify"):
        notify.check(template)
    notify.check(["sh", "-c", 'ntfy send "$CLAIRE_TEXT"'])
    notify.check(TEMPLATE)
    notify.check([])


def test_the_examples_of_the_docs_are_allowed() -> None:
    said = (Path(__file__).resolve().parents[2] / "docs" / "agents.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", said, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        notify.check(msgspec.toml.decode(example)["notify"])


async def test_the_command_runs(
    make_node: Callable[..., Node], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node, told = make_node("alpha", wall_ms), tmp_path / "told"
    script = f"import os, sys; open({str(told)!r}, 'a').write(sys.argv[1] + os.environ['CLAIRE_STATE'] + '\\n')"
    stop = asyncio.Event()
    notifier = Notifier(node, [sys.executable, "-c", script, "{text}"])
    running = asyncio.create_task(notify.run(notifier, stop))
    while notifier._before is None:  # what it finds at its first look is no news
        await asyncio.sleep(0.02)
    waits(node, wall_ms(), name="api")
    async with asyncio.timeout(180):
        while not told.exists() or not told.read_text():
            await asyncio.sleep(0.05)
    stop.set()
    await running
    assert told.read_text() == "1 needs you: api on alpha, permissionpermission\n"
    notify.start_process(["/nonexistent/notify"], {})
    notify.start_process([sys.executable, "-c", "exit(3)"], {})
    assert "cannot run /nonexistent/notify" in caplog.text and "ended with 3" in caplog.text
    await notify.run(Notifier(node, []), stop)
