"""What must hold in a simulated fleet: at every step, and when it has healed."""

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from claire.node import hlc, log, tasks
from claire.node.fold import replay_events
from claire.node.schema import PROJECTIONS

if TYPE_CHECKING:
    from tests.sync.world import SimNode, World

LEAD_MS_MAX = 60_000  # how far a peer may push our clock ahead of our wall


class Lost(AssertionError):
    """A promise that was broken."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise Lost(what)


def check_step(world: "World", node: "SimNode") -> None:
    """After every change of a node: index, stamps and holes."""
    assert node.node is not None
    with node.node.reading() as db:
        index = {machine: row for machine, row in log.index(db).items() if row.count}
        demand(index == log.recount(db), f"{node.name}: the index is not what the events say")
    own = index.get(node.node.machine_id)
    if own and not world.truth.holes_may_be:
        lead = hlc.decode(own.newest)[0] - node.wall_max_ms
        demand(lead <= LEAD_MS_MAX, f"{node.name}: its clock was pushed {lead} ms ahead")
    if world.truth.holes_may_be:
        return
    for machine, row in index.items():
        written = world.truth.stamps.get(machine, [])
        if written and row.newest >= written[0]:
            through = bisect_right(written, row.newest)
            base = row.count - through
            demand(
                base == world.fleet.base[machine],
                f"{node.name}: hides a hole in what {machine[:8]} wrote",
            )


def check_healed(world: "World", held: set[str]) -> None:
    """Everybody holds the same, nothing is lost, and every table follows from the events."""
    nodes = world.survivors()
    aside: set[str] = set().union(*(_aside(node) for node in nodes))  # beyond a revocation that came later
    for node in nodes:
        lost = held - world.uuids(node) - aside - world.truth.forged
        demand(not lost, f"{node.name} lost {len(lost)} events")
    demand(world.agrees(), "the fleet does not come to agree")
    demand(all(world.uuids(node) == world.uuids(nodes[0]) for node in nodes), "equal etags of unequal sets")
    tables = [_tables(world, node) for node in nodes]
    for node, found in zip(nodes, tables, strict=True):
        for name, rows in found.items():
            demand(rows == tables[0][name], f"{node.name} and {nodes[0].name} differ in {name}")
    rebuilt = _rebuilt(world, world.rng.choice(nodes))
    demand(rebuilt == tables[0], "what is folded is not what a rebuild gives")
    with _node(nodes[0]).reading() as db:
        shown = {row["title"] for row in tasks.list_tasks(db)}
    kept = world.uuids(nodes[0])
    back = {title for title in shown if world.truth.replaced.get(title) in kept}
    demand(not back, f"a value that was seen and replaced came back: {back}")


def _aside(node: "SimNode") -> set[str]:
    with _node(node).reading() as db:
        return {uuid for (uuid,) in db.execute("SELECT uuid FROM events_aside")}


def _tables(world: "World", node: "SimNode") -> dict[str, list[Any]]:
    with _node(node).reading() as db:
        return _read(db)


def _rebuilt(world: "World", node: "SimNode") -> dict[str, list[Any]]:
    with _node(node).writing() as tx:
        replay_events(tx.db)
        return _read(tx.db)


def _read(db: Any) -> dict[str, list[Any]]:
    """Every projection; of members only who they are, since pins are local."""
    found = {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in PROJECTIONS}
    found["members"] = sorted(db.execute("SELECT id, public_key, through_hlc FROM members").fetchall())
    return found


def _node(node: "SimNode") -> Any:
    assert node.node is not None
    return node.node
