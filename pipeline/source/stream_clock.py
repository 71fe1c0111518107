"""When was a picture taken that has just arrived? Its own time stamp against ours says how late it is."""

from __future__ import annotations

import math

_DRIFT = 2e-4  # seconds per second by which two cameras' clocks may part


class ArrivalClock:
    """The smallest difference between arrival and time stamp seen so far is that of a picture that came at once; more
    than that is lag (of a buffer on the way, or of our own decoding), and counts as age. What the fastest picture took
    (exposure, encoding, network) cannot be seen from here.

    ends: the source is a file on a server, whose pictures are due at their time and not when they arrive."""

    def __init__(self, ends: bool = False) -> None:
        self._ends = ends
        self._offset: float | None = None
        self._seen = 0.0

    def taken(self, stamp: float | None, arrived: float) -> float:
        """stamp: seconds on the stream's clock, None or nonsense if it has none. arrived, returned: seconds of
        time.monotonic()."""
        if stamp is None or not math.isfinite(stamp):
            return arrived
        if self._offset is None:
            self._offset, self._seen = arrived - stamp, arrived
        elif not self._ends:
            slack = _DRIFT * max(arrived - self._seen, 0.0)
            self._offset, self._seen = min(self._offset + slack, arrived - stamp), arrived
        if not self._ends and arrived - stamp - self._offset > 30:  # the stream's clock jumped; that is not lag
            self._offset = arrived - stamp
        return stamp + self._offset
