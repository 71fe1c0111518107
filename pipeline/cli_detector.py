"""The command line's words for detectors, the same for every verb that detects."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from posepipe.errors import UsageError
from posepipe.pipeline.settings import BLAZEPOSE, KEYPOINTS, RunSettings


def add_detector(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("detector", "Where 2D keypoints come from: docs/detectors.md.")
    add = group.add_argument
    add(
        "--detector",
        default=BLAZEPOSE,
        metavar="NAME",
        help="blazepose (default, one person); for several: hrnet-w32, hrnet-w48, a graph or engine of build-engines; "
        "mspn50, rsn50, or any name, alias or configuration of MMPose",
    )
    add("--detector-weights", metavar="FILE", help="its weights (MMPose: default the published ones)")
    add("--boxes", default="auto", metavar="HOW", help="how people are found: auto, finder, full, rtmdet, or of mmdet")
    add("--box-weights", metavar="FILE", help="weights of that")
    add("--find-every", type=int, default=10, metavar="N", help="frames after which the whole picture is looked at")


def add_keypoints(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--keypoints", type=Path, metavar="FILE", help="2D keypoints from a file (npz, h5, csv) and no detector")
    add("--clip", metavar="S/A/C", help="SUBJECT/ACTION/CAMERA of a keypoint file that holds many clips")
    add("--conversion", metavar="NAME", help="to H36M-17 (default: the one that fits detector and lifter)")


def detector_settings(args: argparse.Namespace) -> RunSettings:
    """Settings that say which detector, and nothing else."""
    names = {f.name for f in dataclasses.fields(RunSettings)}
    settings = RunSettings(**{k: v for k, v in vars(args).items() if k in names})
    check_detector(settings)
    return settings


def check_detector(settings: RunSettings) -> None:
    """UsageError for a detector that nobody can have meant."""
    from posepipe.pipeline.detect.choose import check_name

    if settings.detector != KEYPOINTS:
        check_name(settings.detector)


def source_or_keypoints(args: argparse.Namespace) -> None:
    """Without a video, a keypoint file is the source itself."""
    if args.source is not None:
        return
    if args.keypoints is None:
        raise UsageError("There is nothing to run on.", "Give a video, a camera's number, or --keypoints FILE.")
    if args.live or args.view not in (None, "none") or args.save is not None:
        raise UsageError("There is nothing to watch.", "Give the video that the keypoints were detected in, too.")
    args.source = str(args.keypoints)
