"""What the command line asks before anything heavy is imported."""

from __future__ import annotations

import argparse

from posepipe.pipeline.source.choose import is_live

VIEWS = ("auto", "window", "open3d", "rerun", "none")


def wants_live(args: argparse.Namespace) -> bool:
    """Whether this run goes through the live path: a camera or stream, --live, or a file that is to be watched or
    saved for Rerun."""
    return is_live(args.source) or args.live or args.view not in (None, "none") or args.save is not None
