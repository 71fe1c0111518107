"""The live side of `posepipe run`: cameras, streams, and files that are watched."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from posepipe.errors import InputError
from posepipe.pipeline.backend import backend_of
from posepipe.pipeline.live.recorder import Target
from posepipe.pipeline.live.report import LiveSummary
from posepipe.pipeline.live.session import LiveOptions, run_live
from posepipe.pipeline.run import outputs_of
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.choose import is_live, open_source
from posepipe.pipeline.view.choose import choose_viewer, saved_beside


def run_source(args: argparse.Namespace, settings: RunSettings) -> int:
    """Lines for people go to standard error, the summary as one line of JSON to standard output.

    A file without --live is processed frame by frame and written to --out, as `posepipe run FILE` does."""
    live = is_live(args.source) or args.live
    target = None
    if not live:
        outputs = outputs_of(Path(args.source), args.out, settings.overlay)
        target = Target(outputs.recording, outputs.overlay)
    say(str(backend_of(settings)))
    viewer, line = choose_viewer(args.view or ("auto" if live else "none"))
    viewer = saved_beside(viewer, args.save)
    if line:
        say(line)
    options = LiveOptions(args.out, record=args.record or not live, target=target, every=not live)
    summary = run_live(
        open_source(args.source, live, settings.image_fps), viewer, settings, options, say, on_end=told(say)
    )
    if not live and summary.counts.with_person == 0 and summary.counts.processed:
        raise InputError(
            f"No person was found in any of the {summary.counts.processed} frames of {args.source}.",
            "Is the person large enough, lit and upright?",
        )
    return 0


def say(line: str) -> None:
    with suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


def told(write: Callable[[str], None]) -> Callable[[LiveSummary], None]:
    """What to do with a summary: a sentence for people, and JSON for programs."""

    def tell(s: LiveSummary) -> None:
        made = f"{s.lifter}, {s.hypotheses} hypotheses, {s.backend}" if s.counts.processed else "no frame was processed"
        write(
            f"{s.counts.captured} frames captured = {s.counts.processed} processed + {s.counts.lost} dropped, "
            f"{s.counts.with_person} with a person; {s.fps:.1f} frames/s; {made}"
        )
        for path in s.files:
            write(f"wrote {path}")
        if s.stuck:
            write(f"left behind, still waiting for its device or the network: {', '.join(s.stuck)}")
        print(s.to_json(), flush=True)

    return tell
