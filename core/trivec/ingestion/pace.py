"""How long a run still takes, from how fast it read lately."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 30.0


class Pace:
    """Estimates the remaining time from the parts of a source that were read, with their times.

    The speed is that of the last 30 seconds. While nothing is read, the estimate counts down: it
    grows only when reading goes on more slowly than before.

    Example:
        >>> pace = Pace()
        >>> [pace.remaining(fraction, seconds) for fraction, seconds in [(0.1, 1), (0.1, 3)]]
        [9.0, 7.0]
        >>> pace.remaining(0.2, 4)
        16.0
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque([(0.0, 0.0)])
        self._end: float | None = None

    def remaining(self, fraction: float | None, seconds: float) -> float | None:
        """Return the seconds until the end; None if that is unknown.

        Args:
            fraction: How much has been read, from 0 to 1; None if that is unknown.
            seconds: The time since the start.
        """
        if fraction is None:
            return None
        started, read = self._samples[-1]
        if fraction > read and seconds > started:
            self._samples.append((seconds, fraction))
            while len(self._samples) > 2 and self._samples[1][0] <= seconds - WINDOW_SECONDS:
                self._samples.popleft()
            since, before = self._samples[0]
            self._end = seconds + (1 - fraction) * (seconds - since) / (fraction - before)
        return None if self._end is None else max(0.0, self._end - seconds)
