"""How the running daemon itself does: lag of its loop, rounds with peers, memory and open files; for `/metrics`."""

import asyncio
import os
import resource
import time
from collections import deque
from collections.abc import Iterable

from claire.sync.runner import Runner
from claire.ui.metrics import Sample

BEAT_S = 1.0
BEATS_KEPT = 60


class Pulse:
    """Beats once a second; a beat that comes late was held up by the loop."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.lags_s: deque[float] = deque([0.0], maxlen=BEATS_KEPT)
        self.started = time.time()

    async def run(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT_S)
            self.lags_s.append(max(0.0, time.monotonic() - before - BEAT_S))

    def measures(self) -> Iterable[Sample]:
        worst = max(list(self.lags_s))
        yield Sample("claire_loop_lag_seconds", "gauge", "The latest the loop was in the last minute.", worst)
        for outcome, count in self.runner.rounds.items():
            labels = (("outcome", outcome),)
            yield Sample("claire_rounds_total", "counter", "Rounds with peers since the start.", count, labels)
        yield Sample("process_start_time_seconds", "gauge", "Unix time of the start.", self.started)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        yield Sample("process_cpu_seconds_total", "counter", "CPU time.", usage.ru_utime + usage.ru_stime)
        if os.path.exists("/proc/self/statm"):
            with open("/proc/self/statm") as file:
                resident = int(file.read().split()[1]) * resource.getpagesize()
            yield Sample("process_resident_memory_bytes", "gauge", "Resident memory.", resident)
            yield Sample("process_open_fds", "gauge", "Open file descriptors.", len(os.listdir("/proc/self/fd")))
