"""The verb `inspect`: joint names and sides of a video at a glance, without any lifter."""

from __future__ import annotations

import argparse
from pathlib import Path

from posepipe.errors import InputError, UsageError
from posepipe.pipeline.cli_detector import add_detector, detector_settings
from posepipe.pipeline.sink.atomic import output_error

_MOST = 60  # a sheet with more cannot be looked at


def main(verb: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(f"posepipe {verb}", description="What the detector sees in a video, as a picture.")
    parser.add_argument("source", type=Path, help="a video file, or a folder of numbered images")
    parser.add_argument("-o", "--out", type=Path, metavar="OUT.png", help="default: <name>.inspect.png, here")
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="how many, evenly spaced (default 8)")
    add_detector(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    if not 1 <= args.frames <= _MOST:
        raise UsageError(f"{args.frames} frames do not make a sheet.", f"Give --frames between 1 and {_MOST}.")
    out = _target(args.source, args.out)
    from posepipe.pipeline.inspect_sheet import write_sheet
    from posepipe.pipeline.inspect_video import inspect_video

    inspection = inspect_video(args.source, args.frames, settings=detector_settings(args))
    write_sheet(inspection, out)
    _print(inspection)
    print(f"wrote {out}")
    if inspection.found == 0:
        raise InputError(
            f"No person was found in {len(inspection.samples)} frames of {args.source}.",
            f"Look at {out}: is the person large enough, lit and upright?",
        )
    return 0


def _target(source: Path, out: Path | None) -> Path:
    """Where the sheet goes; never onto the video."""
    from posepipe.pipeline.source.footage import stem_of

    name = f"{stem_of(source)}.inspect.png"
    try:
        target = Path(name) if out is None else out / name if out.is_dir() else out
    except OSError as error:
        raise output_error(out or source, error) from None
    if target.suffix.lower() != ".png":
        raise UsageError(f"{target} is not the name of a PNG picture.", "Let it end in .png.")
    return target


def _print(inspection: object) -> None:
    from rich.console import Console
    from rich.table import Table

    from posepipe.pipeline.inspect_video import EXCHANGED, PLAUSIBLE, UNCLEAR, Inspection, verdict
    from posepipe.skeleton import H36M_17

    assert isinstance(inspection, Inspection)
    console = Console()
    seen = inspection.found
    console.print(f"{len(inspection.samples)} frames sampled, {seen} with a person", highlight=False)
    if not seen:
        return
    table = Table("joint", "left", "middle", "right", title="mean confidence", box=None, pad_edge=False)
    mean = inspection.confidence
    for joint, name in enumerate(H36M_17.joints):
        if name.startswith("l_"):
            right = mean[H36M_17.mirror[joint]]
            table.add_row(name[2:], f"{mean[joint]:.2f}", "", f"{right:.2f}")
        elif not name.startswith("r_"):
            table.add_row(name, "", f"{mean[joint]:.2f}", "")
    console.print(table)
    counts = ", ".join(f"{inspection.count(s)} {s}" for s in (PLAUSIBLE, EXCHANGED, UNCLEAR))
    console.print(f"left and right (by the way the face and the feet point): {counts}", highlight=False, soft_wrap=True)
    console.print(verdict(inspection)[1], highlight=False, soft_wrap=True)
