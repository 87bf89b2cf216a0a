"""Measured times and their table: medians, spread, and the ratio to a baseline of the same run."""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PROFILE_LINES = 35


@dataclass(frozen=True)
class Runs:
    """Repeated measurements of one thing, in seconds unless the case says otherwise."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of the distance between the quartiles, as a part of the median."""
        if len(self.values) < 3 or not self.median:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4)
        return (high - low) / 2 / self.median

    @property
    def p99(self) -> float:
        return sorted(self.values)[min(len(self.values) - 1, int(len(self.values) * 0.99))]


@dataclass(frozen=True)
class Result:
    """One row of the table; the goal is for the ratio, or where there is no baseline for the value."""

    case: str
    size: str
    value: str
    baseline: str = ""
    ratio: float | None = None
    goal: str = ""
    holds: bool | None = None
    note: str = ""


@dataclass
class Bench:
    """What the cases of one run share: sizes, repetitions, and whether to profile."""

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    repeats: int = 5
    profile: bool = False
    profiled_already: set[str] = field(default_factory=set)

    def time(self, action: Callable[[], object], repeats: int = 0) -> Runs:
        values = []
        for _ in range(repeats or self.repeats):
            started = time.perf_counter()
            action()
            values.append(time.perf_counter() - started)
        return Runs(tuple(values))

    @contextmanager
    def profiled(self, what: str) -> Iterator[None]:
        """With --profile, print a profile of the block the first time it runs; otherwise nothing."""
        if not self.profile or what in self.profiled_already:
            yield
            return
        self.profiled_already.add(what)
        profiler = cProfile.Profile()
        with profiler:
            yield
        stats = pstats.Stats(profiler).strip_dirs().sort_stats("tottime")
        print(f"\n--- profile: {what}")
        stats.print_stats(PROFILE_LINES)


def against(
    case: str, size: int | str, ours: Runs, name: str, base: Runs, goal: float | None = None, note: str = ""
) -> Result:
    ratio = ours.median / base.median
    return Result(
        case,
        f"{size:,}" if isinstance(size, int) else size,
        f"{seconds(ours.median)} ±{ours.spread:.0%}",
        f"{name} {seconds(base.median)} ±{base.spread:.0%}",
        ratio,
        f"≤ {goal:g} x" if goal else "",
        None if goal is None else ratio <= goal,
        note,
    )


def limit(case: str, size: int | str, value: float, unit: str, most: float | None, note: str = "") -> Result:
    return Result(
        case,
        f"{size:,}" if isinstance(size, int) else size,
        f"{value:.3g} {unit}",
        goal=f"≤ {most:g} {unit}" if most is not None else "",
        holds=None if most is None else value <= most,
        note=note,
    )


def seconds(value: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def table(results: Iterable[Result]) -> str:
    lines = ["| case | size | median | baseline | x | goal | holds |", "|---|---|---|---|---|---|---|"]
    for row in results:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        holds = {None: "", True: "yes", False: "**no**"}[row.holds]
        case = f"{row.case} ({row.note})" if row.note else row.case
        cells = (case, row.size, row.value, row.baseline, ratio, row.goal, holds)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
