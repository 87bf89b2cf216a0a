"""When triage runs: on sessions that came to rest, once for each state of their transcript, within a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from claire.fleet import claude, remote, triage
from claire.fleet.state import State
from claire.fleet.triage import DAY_MS, Settings
from claire.node import sessions, updates
from claire.node.errors import ClaireError
from claire.node.node import Node
from claire.node.rows import Row

AT_REST = (State.IDLE, State.QUESTION, State.PERMISSION, State.ERROR, State.INTERRUPTED)
SETTLED_MS = 10_000  # a session that came to rest just now may go on at once
log = logging.getLogger(__name__)


@dataclass
class Triager:
    """One run a call, on the session that has waited longest for one."""

    node: Node
    env: Mapping[str, str]
    settings: Settings
    stopping: Callable[[], bool] = lambda: False
    _done: dict[str, int] = field(default_factory=dict)  # session -> size of the transcript it was done for

    def triage_one(self) -> bool:
        """True if a run was made, whatever came of it."""
        if not self.settings.enabled or self.spent_usd() >= self.settings.daily_usd:
            return False
        homes = claude.config_homes(self.env)
        for row in self._resting():
            found = triage.tail_of(homes, row["id"])
            if found and self._done.get(row["id"]) != found[1].size:
                self._done[row["id"]] = found[1].size
                self._run(row, triage.excerpt(*found))
                return True
        return False

    def _resting(self) -> list[Row]:
        now_ms = self.node.now_ms()
        with self.node.reading() as db:
            rows = sessions.list_sessions(db, self.node.machine_id)
        resting = [row for row in rows if row["state"] in AT_REST and now_ms - row["since_ms"] > SETTLED_MS]
        return sorted(resting, key=lambda row: int(row["since_ms"]))

    def _run(self, row: Row, text: str) -> None:
        try:
            verdict = triage.run(self.settings, self.node.home, self.env, text, self.stopping)
        except ClaireError as error:
            log.warning("%s", error.message)
            self._spend(triage.RUN_USD_MAX if not self.settings.command else 0.0)  # it may have cost as much
            return
        self._spend(verdict.cost_usd)
        with self.node.reading() as db:
            now = sessions.find(db, row["id"])
        if now["state"] != row["state"] or now["since_ms"] != row["since_ms"]:
            return  # it went on meanwhile: the verdict is about the past
        sessions.observe(self.node, [msgspec.structs.replace(remote.recorded(now), last_triage=verdict.line)])
        updates.add(self.node, row["id"], "triage", verdict.line)

    def spent_usd(self) -> float:
        with self.node.reading() as db:
            found = db.execute("SELECT value FROM meta WHERE key = ?", (self._today(),)).fetchone()
        return float(found[0]) if found else 0.0

    def _spend(self, usd: float) -> None:
        total = self.spent_usd() + usd
        with self.node.writing() as tx:
            tx.db.execute("DELETE FROM meta WHERE key LIKE 'triage_usd_%'")
            tx.db.execute("INSERT INTO meta VALUES (?, ?)", (self._today(), str(total)))

    def _today(self) -> str:
        return f"triage_usd_{self.node.now_ms() // DAY_MS}"
