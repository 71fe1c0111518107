"""Live 3D pose with every hypothesis in view: python demo/webcam.py [SOURCE] [--view VIEW] [--max-frames N]

SOURCE is a camera's number (default 0), rtsp://... or http://..., or a video file, which is played as if it were live.
In the window: q quit, space pause, h hypotheses, +/- their number, l lifter, v view, r record, s snapshot.
"""

import argparse
import sys

from posepipe.errors import PosepipeError
from posepipe.pipeline.live.session import run_live
from posepipe.pipeline.live.wanted import VIEWS
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.choose import open_source
from posepipe.pipeline.view.choose import choose_viewer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="0")
    parser.add_argument("--view", default="auto", choices=VIEWS)
    parser.add_argument("--max-frames", type=int)
    args = parser.parse_args()
    try:
        viewer, remark = choose_viewer(args.view)
        print(remark, end="\n" if remark else "", file=sys.stderr)
        source, settings = open_source(args.source), RunSettings(max_frames=args.max_frames)
        summary = run_live(source, viewer, settings, say=lambda line: print(line, file=sys.stderr))
    except PosepipeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(summary.to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main())
