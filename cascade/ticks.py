"""The times at which batches are closed, and the clock that tells them."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

_ROUNDING = 1e-9  # of an interval: a time this close to a tick is the tick


@dataclass(frozen=True)
class Ticks:
    """Times origin, origin + interval, origin + 2 intervals, ..., in seconds; interval above 0."""

    origin: float
    interval: float

    def at_or_after(self, time: float) -> float:
        """The first tick that is not before `time`."""
        return self.origin + math.ceil((time - self.origin) / self.interval - _ROUNDING) * self.interval

    def after(self, time: float) -> float:
        """The first tick after `time`."""
        return self.origin + (math.floor((time - self.origin) / self.interval + _ROUNDING) + 1) * self.interval


class Clock(Protocol):
    """Tells the time and waits; tests bring one of their own."""

    def now(self) -> float:
        """Seconds from an arbitrary start; never falls."""
        ...

    def wait(self, condition: threading.Condition, until: float) -> None:
        """Wait, holding `condition`, until it is notified or the time has come; may return early."""
        ...


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds."""
        return monotonic()

    def wait(self, condition: threading.Condition, until: float) -> None:
        """Wait for the condition or the time."""
        condition.wait(max(0.0, until - self.now()))
