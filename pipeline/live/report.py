"""What a run says about itself: a line every few seconds, and a summary at the end."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from posepipe.pipeline.live.counters import Counts
from posepipe.pipeline.source.live import SourceCounts
from posepipe.pipeline.stats import StageSummary

_WINDOW_SECONDS = 2.0


@dataclass(frozen=True)
class LiveSummary:
    """source: its name, without credentials. seconds: from the first to the last frame finished. fps: finished frames
    over that time. files: that were written, complete. stuck: threads that did not end in time."""

    source: str
    seconds: float
    fps: float
    counts: Counts
    origin: SourceCounts
    stages: tuple[StageSummary, ...]
    lifter: str
    hypotheses: int
    backend: str
    view: str
    files: tuple[Path, ...] = ()
    stuck: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line; milliseconds under "stages"."""
        stages = {s.name: {k: _short(v) for k, v in dataclasses.asdict(s).items() if k != "name"} for s in self.stages}
        counts = dataclasses.asdict(self.counts) | dataclasses.asdict(self.origin)
        rest = {
            "source": self.source,
            "seconds": _short(self.seconds),
            "fps": _short(self.fps),
            "lifter": self.lifter,
            "hypotheses": self.hypotheses,
            "backend": self.backend,
            "view": self.view,
            "files": [str(f) for f in self.files],
            "stuck": list(self.stuck),
        }
        return json.dumps({**rest, "counts": counts, "stages": stages})


def _short(value: float) -> float:
    return round(value, 3) if isinstance(value, float) else value


class Rate:
    """Finished frames per second over the last two seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def update(self, finished: int, now: float | None = None) -> float:
        """finished: how many so far. NaN until half a second has passed."""
        now = time.monotonic() if now is None else now
        self._seen.append((now, finished))
        while now - self._seen[0][0] > _WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        passed = now - self._seen[0][0]
        return (finished - self._seen[0][1]) / passed if passed >= 0.5 else float("nan")


def counter_line(
    seconds: float, fps: float, counts: Counts, origin: SourceCounts, stages: tuple[StageSummary, ...]
) -> str:
    """One line for people: counts since the start; p50/p95/p99 ms of the stages since the last line."""
    causes = ", ".join(f"{n} {cause}" for cause, n in counts.dropped.items())
    parts = [
        f"{seconds:5.0f} s",
        f"captured {counts.captured} = {counts.processed} processed + {counts.lost} dropped"
        + (f" ({causes})" if causes else "")
        + (f" + {counts.waiting} under way" if counts.waiting else ""),
        f"{fps:.1f} frames/s",
    ]
    others: dict[str, float] = {
        "corrupt": counts.corrupt,
        "bad packets": origin.bad_packets,
        "reconnects": origin.reconnects,
        "skipped": origin.skipped,
        "s slipped": origin.slipped,
        "unshown": counts.unshown,
        "unrecorded": counts.unrecorded,
    }
    parts += [f"{n:g} {name}" for name, n in others.items() if n]
    parts += [f"{s.name} {s.p50:.0f}/{s.p95:.0f}/{s.p99:.0f}" for s in stages]
    return "  ".join(parts)
