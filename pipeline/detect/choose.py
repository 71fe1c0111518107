"""From a run's settings to its detector and its conversion to H36M-17."""

from __future__ import annotations

import difflib
import logging
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from posepipe.conversion import Conversion, conversion, conversion_between
from posepipe.errors import CheckpointError, UsageError
from posepipe.hashing import file_sha256
from posepipe.pipeline.detect.boxes import Find, whole_picture
from posepipe.pipeline.runner import Detector
from posepipe.pipeline.settings import BLAZEPOSE, KEYPOINTS, RunSettings
from posepipe.pipeline.source.keypoints import KeypointClip, read_keypoints
from posepipe.skeleton import BLAZEPOSE_33, COCO_17
from posepipe.trt_build.detector.catalogue import ENTRIES, entry, find, graph_paths
from posepipe.trt_build.detector.contract import HeatmapContract
from posepipe.types import Frame, Pose2D

# MMPose's names of the networks that follow CPN in its family (Megvii's), which MMPose itself does not have.
MMPOSE = {
    "mspn50": "td-hm_mspn50_8xb32-210e_coco-256x192",
    "rsn50": "td-hm_rsn50_8xb32-210e_coco-256x192",
}
_log = logging.getLogger("posepipe")


@dataclass(frozen=True)
class FromFile:
    """The detector of `--keypoints`: says what the file says. Nothing is opened, nothing to close."""

    name: str
    skeleton: str
    clip: KeypointClip

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        return self.clip.poses(frame.index)


def open_detector(
    settings: RunSettings, static: bool = False, threads: int | None = None
) -> AbstractContextManager[Detector]:
    """The detector that a run asks for, loaded. static: pictures have nothing to do with each other.

    threads: of its network (None: the detector's own choice). Raises UsageError, CheckpointError, EngineError,
    MissingDependencyError, InputError."""
    if settings.keypoints is not None:
        clip = read_keypoints(settings.keypoints, settings.clip)
        return nullcontext(FromFile(clip.detector, clip.skeleton, clip))
    if settings.detector == BLAZEPOSE:
        from posepipe.pipeline.detect.blazepose import BlazePose

        return BlazePose(static=static, max_threads=threads)
    every = 1 if static else settings.find_every
    graph = graph_of(settings)
    if graph is not None:
        return _from_graph(graph, settings, every, threads or 1)
    return _from_mmpose(settings, every)


def graph_of(settings: RunSettings) -> Path | None:
    """The graph or engine of a detector that runs without MMPose, or None where MMPose is to run it.

    Raises CheckpointError for one of our detectors without a graph when MMPose is not there either."""
    from posepipe.pipeline.detect.mmpose import find_python

    name, weights = settings.detector, settings.detector_weights
    for given in (name, weights or ""):
        if given.endswith((".onnx", ".engine")):
            return Path(given)
    ours = find(name)
    if ours is None:
        return None
    if weights is None:
        for path in graph_paths(name):
            if path.is_file():
                return path
    if find_python() is not None:
        return None
    build = f"posepipe build-engines --detector {name} --detector-weights {weights or 'FILE'}"
    raise CheckpointError(
        f"There is no graph of {name} at {' or '.join(str(p) for p in graph_paths(name))}."
        if weights is None
        else f"{weights} has to become a graph first.",
        f"Make it with `{build}` (docs/detectors.md), or install MMPose.",
    )


def skeleton_of(settings: RunSettings) -> str:
    """The layout of the keypoints that a run will get."""
    if settings.keypoints is not None:
        return read_keypoints(settings.keypoints, settings.clip).skeleton
    return BLAZEPOSE_33.name if settings.detector == BLAZEPOSE else COCO_17.name


def conversion_for(settings: RunSettings, trained: str) -> Conversion:
    """The conversion of a run: the one that was asked for, or the one that fits detector and lifter.

    trained: what the lifter was trained for. Raises CheckpointError when nothing fits, with what to do."""
    layout = skeleton_of(settings)
    if settings.conversion is not None:
        chosen = conversion(settings.conversion)
        if chosen.source.name != layout:
            raise UsageError(f"--conversion {chosen.name} is not for {layout} keypoints.")
        return chosen
    found = conversion_between(layout, trained)
    if found is None:
        raise CheckpointError(
            f"This lifter was trained for keypoints from {trained}, which cannot be made of {layout} keypoints.",
            "Choose the detector that belongs to it, train on these keypoints, bring an authors' file in again with "
            "`posepipe import-checkpoint --conversion NAME`, or say --conversion NAME to lift them all the same.",
        )
    return found


def conversion_line(used: Conversion, trained: str) -> str:
    """What to tell a person when the lifter was trained on other keypoints, or ""."""
    if used.name == trained:
        return ""
    return f"keypoints by {used.name}; the lifter was trained for {trained} (what that costs: docs/detectors.md)"


def identity_of(settings: RunSettings) -> dict[str, str]:
    """What results depend on beside the settings' words: hashes of the detector's files."""
    if settings.detector in (BLAZEPOSE, KEYPOINTS):
        return {}
    named = {"detector_weights": settings.detector_weights, "box_weights": settings.box_weights}
    graph = graph_of(settings)
    files = {"detector_graph": graph, **{k: Path(v) for k, v in named.items() if v}}
    return {name: file_sha256(path) for name, path in files.items() if path is not None and path.is_file()}


def check_name(name: str) -> None:
    """UsageError for a name that is nobody's: near to one of ours, or with letters that no name has. Names that are
    not ours may be MMPose's, which is asked when it is opened."""
    ours = [BLAZEPOSE, *MMPOSE, *(e.name for e in ENTRIES)]
    if name in ours or name.endswith((".onnx", ".engine", ".py")):
        return
    near = difflib.get_close_matches(name, ours, 1, 0.75)
    if near or not re.fullmatch(r"[\w.+-]+", name):
        fix = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(ours[:5])}, or one of MMPose's names."
        raise UsageError(f"No detector is called '{name}'.", fix)


def _from_graph(graph: Path, settings: RunSettings, every: int, threads: int) -> AbstractContextManager[Detector]:
    from posepipe.pipeline.detect.topdown import HeatmapEstimator, TopDown
    from posepipe.trt_build.runners.heatmaps import open_heatmaps

    if settings.boxes not in ("auto", "finder", "full"):
        raise UsageError(
            f"--boxes {settings.boxes} is MMPose's, and {settings.detector} runs without it here.",
            "Use --boxes finder or full.",
        )
    runner = open_heatmaps(graph, threads)
    try:
        _check_contract(settings.detector, runner.contract, graph)
        return TopDown(runner.contract.detector, HeatmapEstimator(runner), _finder(settings.boxes, threads), every)
    except BaseException:
        runner.close()
        raise


def _check_contract(name: str, contract: HeatmapContract, graph: Path) -> None:
    if find(name) is not None and contract.detector != name:
        raise CheckpointError(f"{graph} is {contract.detector}, not {name}.", f"Use --detector {contract.detector}.")
    if not contract.weights_sha256:
        _log.warning("%s has random weights: its keypoints mean nothing.", graph)


def _from_mmpose(settings: RunSettings, every: int) -> AbstractContextManager[Detector]:
    from posepipe.pipeline.detect.mmpose import MmposeProcess
    from posepipe.pipeline.detect.topdown import TopDown

    name, boxes = settings.detector, settings.boxes
    ours = find(name)
    model = entry(name).mmpose if ours else MMPOSE.get(name, name)
    auto = boxes == "auto" and settings.detector_weights != "random"
    wants_people = auto or boxes not in ("auto", "finder", "full")
    process = MmposeProcess(
        model,
        settings.detector_weights,
        people="try" if auto else wants_people,
        person_weights=settings.box_weights,
        person_model=None if boxes in ("auto", "finder", "full", "rtmdet") else boxes,
    )
    try:
        if settings.detector_weights == "random":
            _log.warning("%s has random weights: its keypoints mean nothing.", name)
        if process.note:
            _log.warning("%s People are found with BlazePose's finder instead (--boxes finder).", process.note)
        finder: Find = process.find if process.finds_people else _finder(boxes, 1)
        return TopDown(name, process, finder, every)
    except BaseException:
        process.close()
        raise


def _finder(boxes: str, threads: int) -> Find:
    if boxes == "full":
        return whole_picture
    from posepipe.pipeline.detect.people_finder import PeopleFinder

    return PeopleFinder(threads)
