"""The verb `export`: a result file to the formats that other programs read."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from posepipe.errors import UsageError
from posepipe.pipeline.sink.atomic import output_error

# format -> the module whose write(recording, path, pose) makes it; the format's name is the file's suffix
FORMATS = {
    name: f"posepipe.pipeline.export.as_{name}" for name in ("csv", "json", "npz", "bvh", "c3d", "trc", "rrd", "glb")
}
_FILE_PER_PERSON = ("bvh", "c3d", "trc")


def main(verb: str, argv: list[str]) -> int:
    parser = argparse.ArgumentParser(f"posepipe {verb}", description="A result file to a format of another program.")
    parser.add_argument("file", type=Path, help="a .h5 file that posepipe run has written")
    parser.add_argument("--to", required=True, metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="file or folder (default: beside FILE)")
    parser.add_argument(
        "--pose", default="aggregate", metavar="POSE", help="aggregate (default), smoothed or hypothesis:K"
    )
    parser.add_argument("--track", type=int, metavar="ID", help="only this person (default: all)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    if args.to not in FORMATS:
        raise UsageError(f"There is no export to '{args.to}'.", f"Known: {', '.join(FORMATS)}.")
    from posepipe.pipeline.export.choose import load, parse_pose
    from posepipe.pipeline.export.clip import files_of

    pose = parse_pose(args.pose)
    out = _target(args.file, args.out, args.to)
    recording = load(args.file, pose, args.track)
    importlib.import_module(FORMATS[args.to]).write(recording, out, pose)
    for path in files_of(recording, out).values() if args.to in _FILE_PER_PERSON else (out,):
        print(f"wrote {path}")
    return 0


def _target(source: Path, out: Path | None, suffix: str) -> Path:
    """Where the export goes; never onto the result file itself."""
    name = f"{source.stem}.{suffix}"
    try:
        target = source.with_name(name) if out is None else out / name if out.is_dir() else out
        onto_itself = target.exists() and source.exists() and target.samefile(source)
    except (OSError, ValueError) as error:
        raise output_error(out or source, error) from None
    if onto_itself:
        raise UsageError(f"{target} is the result file itself.", "Choose another name with -o.")
    return target
