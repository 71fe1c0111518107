"""What the live path needs of a source: frames with the moment they were taken, until somebody closes the gate."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from posepipe.pipeline.source.lens import Lens
from posepipe.types import Frame

_HOLD_SECONDS = 0.02


@dataclass(frozen=True)
class SourceInfo:
    """name: for people, without credentials. identity: what noise is keyed by (the bytes' hash, or the name).

    width, height: of the frames. fps: nominal. sha256: of a file's bytes in hex, "" where there is no file. lens: what
    a file tells of it."""

    name: str
    identity: str
    width: int
    height: int
    fps: float
    sha256: str = ""
    lens: Lens | None = None


@dataclass(frozen=True)
class Captured:
    """A frame, and when it was in front of the lens as far as that can be known.

    at: seconds of time.monotonic(). cost: seconds of work (decoding) that it took to get it, waiting left out."""

    frame: Frame
    at: float
    cost: float = 0.0


@dataclass(frozen=True)
class SourceCounts:
    """reconnects: how often the source came back. bad_packets: that the decoder refused. skipped: packets of a stream
    that were not decoded, to catch up. slipped: seconds that a file played in real time was held up, since it could not
    be decoded that fast."""

    reconnects: int = 0
    bad_packets: int = 0
    skipped: int = 0
    slipped: float = 0.0


class Gate:
    """Tells everything that runs to stop, or a file to pause; safe to use from any thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.paused = False

    def stop(self) -> None:
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, unless or until it is time to stop; returns whether it is."""
        return self._stop.wait(max(seconds, 0.0))

    def hold(self) -> float:
        """Return when nothing is paused (any more), with the seconds that took."""
        start = time.monotonic()
        while self.paused and not self.wait(_HOLD_SECONDS):
            pass
        return time.monotonic() - start


class LiveSource(Protocol):
    """A camera, a stream, or a file. live: it goes on whether or not anybody keeps up, so old frames are worthless.

    trouble: what is wrong now, as a sentence for the screen; "" while all is well. The thread that iterates frames also
    closes it, since libraries crash when that is done from outside while they wait for a picture."""

    info: SourceInfo
    live: bool
    trouble: str

    @property
    def counts(self) -> SourceCounts: ...

    def frames(self, gate: Gate) -> Iterator[Captured]:
        """Frames with indices 0, 1, 2 ... until the end, or until the gate says stop. Raises InputError when the
        source is lost for good."""
        ...

    def close(self) -> None: ...
