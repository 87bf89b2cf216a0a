"""What a node takes in from elsewhere, and what it refuses."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claire.node import admit, hlc, log, members, projects, tasks
from claire.node.event import Event
from claire.node.node import Node
from tests.conftest import Clock, befriend
from tests.node import events as made


def everything(node: Node) -> list[Event]:
    with node.reading() as db:
        return log.since(db, "", 100_000)


def etag(node: Node) -> str:
    with node.reading() as db:
        return log.etag(db)


def changed(event: Event, **fields: str) -> Event:
    return Event(**{**msgspec.structs.asdict(event), **fields})


@pytest.fixture
def pair(make_node: Callable[..., Node]) -> tuple[Node, Node]:
    one, other = make_node("one"), make_node("other")
    befriend(one, other)
    return one, other


def test_an_event_comes_once(pair: tuple[Node, Node]) -> None:
    one, other = pair
    projects.create(one, "api")
    first, again = other.receive(everything(one)), other.receive(everything(one))
    assert (first.accepted, first.refused) == (3, [])
    assert (again.accepted, again.duplicate) == (0, 3)
    assert one.receive(everything(other)).refused == []
    assert etag(one) == etag(other)


MUTATIONS: dict[str, Any] = {
    "uuid": lambda text: "0" * 8 + text[8:],
    "hlc": lambda text: str(int(text[:13]) + 1) + text[13:],
    "machine_id": lambda text: made.KEYS[2].machine_id,
    "event_type": lambda text: "task_created",
    "payload": lambda text: text.replace("api", "apj"),
    "created_at": lambda text: "2020" + text[4:],
    "sig": lambda text: ("B" if text[0] == "A" else "A") + text[1:],
}


@pytest.mark.parametrize("field", MUTATIONS)
def test_p1_a_changed_field_is_refused(pair: tuple[Node, Node], field: str) -> None:
    one, other = pair
    projects.create(one, "api")
    event = everything(one)[-1]
    before = etag(other)
    receipt = other.receive([changed(event, **{field: MUTATIONS[field](getattr(event, field))})])
    assert receipt.accepted == 0 and len(receipt.refused) == 1
    assert etag(other) == before


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(Event.__struct_fields__), st.integers(0, 200), st.characters(codec="utf-8"))
def test_p1_every_single_character_changed_is_refused(
    pair: tuple[Node, Node], field: str, place: int, character: str
) -> None:
    one, other = pair
    event = everything(one)[0]
    text = getattr(event, field)
    mutant = text[: place % len(text)] + character + text[place % len(text) + 1 :]
    if mutant != text:
        assert other.receive([changed(event, **{field: mutant})]).accepted == 0


def test_what_follows_a_refused_event_of_its_machine_is_refused_too(pair: tuple[Node, Node]) -> None:
    one, other = pair
    other.receive(everything(one))
    for name in ("a", "b", "c"):
        projects.create(one, name)
    first, second, third = everything(one)[-3:]
    receipt = other.receive([first, changed(second, created_at="2020-01-01T00:00:00.000Z"), third])
    assert receipt.accepted == 1
    assert [refusal.why for refusal in receipt.refused] == [admit.FORGED, admit.FOLLOWS]
    with other.reading() as db:
        assert log.index(db)[one.machine_id].newest == first.hlc
        assert [kind for (kind,) in db.execute("SELECT kind FROM alarms")] == ["forged"]
    assert other.receive([second, third]).accepted == 2


def test_a_stranger_is_refused_and_one_admitted_in_the_same_batch_is_not(make_node: Callable[..., Node]) -> None:
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    projects.create(c, "mine")
    assert {refusal.why for refusal in a.receive(everything(c)).refused} == {admit.STRANGER, admit.FOLLOWS}
    befriend(a, b)
    befriend(b, c)
    b.receive(everything(c))
    receipt = a.receive(everything(b))  # b vouches for c in this batch
    assert receipt.refused == []
    with a.reading() as db:
        assert projects.find(db, "mine")
    assert etag(a) != etag(c)
    c.receive(everything(a))
    assert etag(a) == etag(c)


def test_p10_two_contents_under_one_uuid(pair: tuple[Node, Node]) -> None:
    one, other = pair
    projects.create(one, "api")
    other.receive(everything(one))
    forged = made.resigned(changed(everything(one)[-1], created_at="2020-01-01T00:00:00.000Z"), one.identity)
    assert [refusal.why for refusal in other.receive([forged]).refused] == [admit.EQUIVOCAL]
    with other.reading() as db:
        assert db.execute("SELECT kind FROM alarms").fetchall() == [("equivocation",)]
    one.receive(everything(other))
    assert etag(one) == etag(other)


def test_p10_a_member_that_takes_anothers_uuid_first_does_not_silence_it(make_node: Callable[..., Node]) -> None:
    here, author, thief = make_node("here"), make_node("author"), make_node("thief")
    befriend(here, author, thief)
    here.receive([*everything(author), *everything(thief)])
    projects.create(author, "api")
    projects.create(author, "web")
    taken, kept = everything(author)[-2:]
    stamp = hlc.encode(hlc.decode(taken.hlc)[0], 0, thief.machine_id)
    copy = made.resigned(changed(taken, machine_id=thief.machine_id, hlc=stamp), thief.identity)
    assert here.receive([copy]).accepted == 1
    receipt = here.receive([taken, kept])
    assert [refusal.why for refusal in receipt.refused] == [admit.TAKEN]
    assert receipt.accepted == 1 and not receipt.blocked_machines
    with here.reading() as db:
        assert {project["name"] for project in projects.list_projects(db)} == {"api", "web"}
        assert log.recount(db) == {machine: row for machine, row in log.index(db).items() if row.count}


def test_p2_a_revoked_node_is_cut_off_at_its_stamp_everywhere(make_node: Callable[..., Node], clock: Clock) -> None:
    a, b, thief = make_node("a"), make_node("b"), make_node("thief")
    befriend(a, b, thief)
    for node in (a, b, thief):
        for other in (a, b, thief):
            node.receive(everything(other))
    projects.create(thief, "kept")
    kept = everything(thief)
    a.receive(kept)
    b.receive(kept)
    clock.now_ms += 1000
    projects.create(thief, "late")
    late = everything(thief)
    b.receive(late)  # b hears of it before it hears of the revocation
    members.revoke(a, thief.machine_id)

    b.receive(everything(a))
    assert {refusal.why for refusal in a.receive(late).refused} == {admit.REVOKED}
    assert {refusal.why for refusal in b.receive(late).refused} == {admit.REVOKED}
    a.receive(everything(b))
    b.receive(everything(a))
    assert etag(a) == etag(b)
    for node in (a, b):
        with node.reading() as db:
            assert [project["name"] for project in projects.list_projects(db)] == ["kept"]
    with b.reading() as db:
        assert db.execute("SELECT count(*) FROM events_aside").fetchone() == (1,)

    # A thief that revokes the owner locks nobody out: the owner's own view does not obey.
    thief.receive(everything(a))
    members.revoke(thief, a.machine_id)
    a.receive(everything(thief))
    with a.reading() as db:
        assert a.machine_id not in members.revoked(db)
    clock.now_ms += 1000
    projects.create(a, "still here")
    assert b.receive(everything(a)).refused == []
    assert etag(a) == etag(b)


def test_p5_a_clock_a_year_ahead_neither_drags_ours_nor_wins_for_ever(
    make_node: Callable[..., Node], clock: Clock
) -> None:
    year_ms = 365 * 86_400_000
    here, ahead = make_node("here"), make_node("ahead", now_ms=lambda: clock.now_ms + year_ms)
    befriend(here, ahead)
    task = tasks.add(here, projects.create(here, "api")["id"], "t")
    ahead.receive(everything(here))
    tasks.edit(ahead, task["id"], title="from the future")
    here.receive(everything(ahead))
    tasks.edit(here, task["id"], title="seen and replaced")
    ahead.receive(everything(here))
    for node in (here, ahead):
        with node.reading() as db:
            assert tasks.find(db, task["id"])["title"] == "seen and replaced"
            assert tasks.find(db, task["id"])["conflicts"] == []
    newest = max(event.hlc for event in everything(here) if event.machine_id == here.machine_id)
    assert hlc.decode(newest)[0] <= clock.now_ms + hlc.DRIFT_MS_MAX + 1


def test_p4_d7_a_key_on_two_hosts_merges_and_says_so(
    make_node: Callable[..., Node], tmp_path: Any, clock: Clock
) -> None:
    import shutil

    from claire.config import Home

    one, other = make_node("one"), make_node("other")
    befriend(one, other)
    other.receive(everything(one))
    one.close()
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    one = Node(one.home, now_ms=clock)
    with Node(Home.from_env({"CLAIRE_HOME": str(tmp_path / "copy")}), now_ms=clock) as copy:
        projects.create(one, "here")
        projects.create(copy, "there")
        for node in (other, one, copy):
            for source in (one, copy):
                node.receive(everything(source))
        assert len({etag(node) for node in (one, copy)}) == 1
        with one.reading() as db:
            assert [kind for (kind,) in db.execute("SELECT kind FROM alarms")] == ["clone"]
        with other.reading() as db:
            assert {project["name"] for project in projects.list_projects(db)} == {"here", "there"}
    one.close()


def test_events_about_things_nobody_knows_wait_for_them(pair: tuple[Node, Node]) -> None:
    one, other = pair
    task = tasks.add(one, projects.create(one, "api")["id"], "t")
    tasks.edit(one, task["id"], title="later")
    created, edited = everything(one)[-2:]
    other.receive([edited])
    with other.reading() as db:
        assert tasks.list_tasks(db) == []
    other.receive([created])
    with other.reading() as db:
        assert [t["title"] for t in tasks.list_tasks(db)] == ["later"]


def test_p2_a_thief_that_revokes_first_is_undone_by_a_lower_cut(make_node: Callable[..., Node], clock: Clock) -> None:
    """The thief cuts the owner off at a third node; there the user takes the thief's last hour back."""
    owner, third, thief = make_node("owner"), make_node("third"), make_node("thief")
    befriend(owner, third, thief)
    projects.create(owner, "mine")
    for node in (owner, third, thief):
        for other in (owner, third, thief):
            node.receive(everything(other))
    clock.now_ms += 3_600_000
    projects.create(owner, "later")
    third.receive(everything(owner))
    clock.now_ms += 1000
    with thief.writing() as tx:
        tx.record(members.NodeRevoked(owner.machine_id, hlc.start(owner.machine_id)))
    third.receive(everything(thief))
    with third.reading() as db:
        assert projects.list_projects(db) == [] and owner.machine_id in members.revoked(db)
    members.revoke(third, thief.machine_id, since_ms=clock.now_ms - 500)
    with third.reading() as db:
        assert {project["name"] for project in projects.list_projects(db)} == {"mine", "later"}
        assert owner.machine_id not in members.revoked(db)
        (aside,) = db.execute("SELECT DISTINCT machine_id FROM events_aside").fetchone()
        assert aside == thief.machine_id
    owner.receive(everything(third))
    third.receive(everything(owner))
    assert etag(owner) == etag(third)
