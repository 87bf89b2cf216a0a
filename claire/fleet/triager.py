"""When triage runs: on sessions that came to rest, once for each state they rest in, within a budget."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from claire.fleet import claude, rclaude, remote, triage
from claire.fleet.evidence import Evidence
from claire.fleet.observer import held_processes
from claire.fleet.rclaude import Contract
from claire.fleet.state import State
from claire.fleet.triage import DAY_MS, Settings, Verdict
from claire.node import sessions, updates
from claire.node.errors import ClaireError
from claire.node.node import Node
from claire.node.rows import Row

AT_REST = (State.IDLE, State.QUESTION, State.PERMISSION, State.ERROR, State.INTERRUPTED)
SETTLED_MS = 10_000  # a session that came to rest just now may go on at once
UNTOLD_USD = 0.001  # rclaude does not say what its runs cost; they count all the same
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """How one session's triage is asked for."""

    ask: Callable[[], Verdict]
    mark: tuple[float, ...]  # asked again when it is another
    usd: float  # what a run counts for that fails, or does not say


@dataclass
class Triager:
    """One run a call, on the session that has waited longest for one."""

    node: Node
    env: Mapping[str, str]
    settings: Settings
    stopping: Callable[[], bool] = lambda: False
    spoken: Contract | None = None
    _evidence: Evidence = field(default_factory=Evidence)
    _done: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def triage_one(self) -> bool:
        """True if a run was made, whatever came of it."""
        if not self.settings.enabled or self.spent_usd() >= self.settings.daily_usd:
            return False
        for row, question in self._questions():
            if self._done.get(row["id"]) != question.mark:
                self._done[row["id"]] = question.mark
                self._run(row, question)
                return True
        return False

    def _questions(self) -> Iterator[tuple[Row, Question]]:
        now_ms = self.node.now_ms()
        with self.node.reading() as db:
            rows = sessions.list_sessions(db, self.node.machine_id)
            homes = claude.config_homes(self.env, sorted(home for _, home in held_processes(db).values() if home))
        resting = [row for row in rows if row["state"] in AT_REST and now_ms - row["since_ms"] > SETTLED_MS]
        for row in sorted(resting, key=lambda row: int(row["since_ms"])):
            question = self._elsewhere(row) if row["source"] == remote.SOURCE else self._here(row, homes)
            if question:
                yield row, question

    def _here(self, row: Row, homes: list[Path]) -> Question | None:
        tail = self._evidence.tail(homes, row["id"], look_everywhere=True)
        if tail is None:
            return None
        about = {"{session}": row["id"], "{transcript}": self._evidence.path(row["id"])}
        ask = partial(triage.run, self.settings, self.node.home, self.env, triage.excerpt(tail), about, self.stopping)
        return Question(ask, (tail.size,), 0.0 if self.settings.command else triage.RUN_USD_MAX)

    def _elsewhere(self, row: Row) -> Question | None:
        """Only rclaude can see its transcript."""
        spoken = self.spoken
        if spoken is None or not spoken.triage:
            return None

        def ask() -> Verdict:
            verdict = triage.parse_told(rclaude.triage(spoken, self.env, rclaude.where(row), self.stopping))
            return verdict if verdict.cost_usd else dataclasses.replace(verdict, cost_usd=UNTOLD_USD)

        return Question(ask, (row["since_ms"], row["last_seen_mtime"]), UNTOLD_USD)

    def _run(self, row: Row, question: Question) -> None:
        try:
            verdict = question.ask()
        except ClaireError as error:
            log.warning("%s", error.message)
            self._spend(question.usd)  # it may have cost as much
            return
        self._spend(verdict.cost_usd)
        with self.node.reading() as db:
            now = sessions.find(db, row["id"])
        if now["state"] != row["state"] or now["since_ms"] != row["since_ms"]:
            del self._done[row["id"]]  # it went on meanwhile: the verdict is about the past
            return
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
