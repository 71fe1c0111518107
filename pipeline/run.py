"""`posepipe run` on a file: every frame through the pipeline into one HDF5 file and one overlay video."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from posepipe.camera import Intrinsics
from posepipe.pipeline.backend import open_runner
from posepipe.pipeline.detect.blazepose import network_threads
from posepipe.pipeline.detect.choose import conversion_for, conversion_line, open_detector
from posepipe.pipeline.people import lifting_of
from posepipe.pipeline.recording import header, write_result
from posepipe.pipeline.render.layout import Caption, compose, picture_size
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.runner import FrameResult, process
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import H5Writer
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.footage import Footage, name_of, open_footage, stem_of
from posepipe.pipeline.stats import StageSummary, StageTimes

Observer = Callable[[FrameResult], None]


@dataclass(frozen=True)
class RunSummary:
    """What a run did. frames = with a person + without one; corrupt ones are counted in both and on their own.

    bad_packets: that the decoder refused, so their frames are missing. cut_short: the file ended inside its data. note:
    what a person should know about the keypoints."""

    source: Path
    recording: Path
    overlay: Path | None
    frames: int
    frames_with_person: int
    frames_corrupt: int
    tracks: int
    seconds: float
    stages: tuple[StageSummary, ...]
    backend: str
    lifter: str
    hypotheses: int
    bad_packets: int
    cut_short: bool
    camera: Intrinsics
    note: str = ""

    @property
    def fps(self) -> float:
        return self.frames / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Outputs:
    """Where the results of a source go."""

    recording: Path
    overlay: Path | None


def outputs_of(source: Path, folder: Path, overlay: bool) -> Outputs:
    """DIR/<stem>.h5 and, unless it is not wanted, DIR/<stem>.overlay.mp4."""
    return _outputs(stem_of(source), folder, overlay)


def _outputs(stem: str, folder: Path, overlay: bool) -> Outputs:
    return Outputs(folder / f"{stem}.h5", folder / f"{stem}.overlay.mp4" if overlay else None)


def run_file(
    source: Path,
    folder: Path,
    settings: RunSettings,
    times: StageTimes | None = None,
    on_start: Callable[[int | None], None] | None = None,
    on_frame: Observer | None = None,
    cores: int | None = None,
) -> RunSummary:
    """Process a video file, or a folder of numbered images; both outputs appear under their final names when everything
    went well, or not at all.

    on_start: called with the expected number of frames (or None). on_frame: called after each frame was written.
    cores: of the processor that this run may keep busy (None: all); the results do not depend on it.
    Raises InputError for a source that cannot be read, OutputError for a folder that cannot be written, UsageError and
    CheckpointError for settings that cannot work."""
    times = times or StageTimes()
    with ExitStack() as stack:
        video, stem = _open(source, settings)
        stack.enter_context(video)
        outputs = _outputs(stem, folder, settings.overlay)
        info = video.info
        camera = settings.camera(info.width, info.height, info.lens)
        runner, hypotheses = open_runner(settings)
        stack.callback(runner.close)
        conversion = conversion_for(settings, runner.contract.conversion)
        lifting = lifting_of(settings, runner, conversion, camera, info.sha256, hypotheses)
        recording = stack.enter_context(
            H5Writer(
                outputs.recording,
                header(
                    name_of(source),
                    info.sha256,
                    info.fps,
                    settings,
                    settings.lifter_name,
                    camera,
                    runner,
                    hypotheses,
                    conversion,
                ),
            )
        )
        caption = Caption(info.fps, settings.lifter_name, hypotheses, settings.detector_name, runner.backend)
        picture = stack.enter_context(_Picture(outputs.overlay, info.width, info.height, info.fps, caption, times))
        threads = None if cores is None else network_threads(cores)
        detector = stack.enter_context(open_detector(settings, threads=threads))
        if on_start:
            on_start(_expected(info.frames, settings.max_frames))
        frames = islice(video, settings.max_frames)
        results = process(frames, detector, lifting, times)
        counts, start = _Counts(), time.perf_counter()
        with closing(results):
            for result in results:
                with times.measure("write"):
                    counts.add(result, write_result(recording, result))
                picture.draw(result)
                if on_frame:
                    on_frame(result)
        damage = video.counts
    return RunSummary(
        source,
        outputs.recording,
        outputs.overlay,
        counts.frames,
        counts.with_person,
        counts.corrupt,
        len(counts.ids),
        time.perf_counter() - start,
        times.summary(),
        runner.backend,
        settings.lifter_name,
        hypotheses,
        damage.bad_packets,
        damage.cut_short,
        camera,
        conversion_line(conversion, runner.contract.conversion),
    )


def _open(source: Path, settings: RunSettings) -> tuple[Footage, str]:
    """The pictures, and what results are called. A keypoint file in the place of a video has pictures of its own."""
    if settings.keypoints is None or source != settings.keypoints:
        return open_footage(source, settings.image_fps), stem_of(source)
    from posepipe.pipeline.source.blank import BlankFilm
    from posepipe.pipeline.source.keypoints import read_keypoints

    clip = read_keypoints(settings.keypoints, settings.clip)
    return BlankFilm(clip), clip.name


class _Counts:
    def __init__(self) -> None:
        self.frames = self.with_person = self.corrupt = 0
        self.ids: set[int] = set()

    def add(self, result: FrameResult, people: int) -> None:
        self.frames += 1
        self.with_person += people > 0
        self.corrupt += result.frame.corrupt
        self.ids |= {t.id for t in result.tracks if t.pose3d is not None}


class _Picture:
    """The overlay video, or nothing when it is not wanted."""

    def __init__(
        self, path: Path | None, width: int, height: int, fps: float, caption: Caption, times: StageTimes
    ) -> None:
        self._view, self._ground, self._caption, self._times = ViewSettings(), GroundState(), caption, times
        self._writer = None if path is None else VideoWriter(path, *picture_size(width, height, self._view), fps)

    def __enter__(self) -> _Picture:
        if self._writer:
            self._writer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer:
            self._writer.__exit__(*error)  # type: ignore[arg-type]

    def draw(self, result: FrameResult) -> None:
        if not self._writer:
            return
        with self._times.measure("draw"):
            self._ground = update_ground(self._ground, result.shown, self._view)
            image = compose(result.frame.image, result.shown, self._caption, self._view, self._ground)
        with self._times.measure("encode"):
            self._writer.write(image, result.frame.pts)


def _expected(frames: int | None, limit: int | None) -> int | None:
    known = [n for n in (frames, limit) if n]
    return min(known) if known else None
