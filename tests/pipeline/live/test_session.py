"""The streaming runner with parts that are slow, fail, or see nobody: what it promises about every frame."""

import resource
import threading
import time
import traceback

import h5py
import numpy as np
import pytest

from posepipe.errors import OutputError, UsageError
from posepipe.pipeline import lift as lifting
from posepipe.pipeline.live.lifting import LiftStage
from posepipe.pipeline.live.recorder import Target
from posepipe.pipeline.live.session import LiveOptions, run_live
from posepipe.pipeline.render import layout
from posepipe.pipeline.render.stage import GroundState
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import STATUS_NO_PERSON, STATUS_OK, read_h5
from posepipe.pipeline.view.none import NoViewer


def _whole(summary):
    counts = summary.counts
    assert counts.captured == counts.processed + counts.lost, counts
    assert counts.processed == counts.shown + counts.unshown, counts
    assert summary.stuck == ()
    return counts


def _run(fakes, source, detector=None, viewer=None, options=None, settings=None, lifter=None, **more):
    return run_live(
        source,
        viewer or NoViewer(),
        settings or RunSettings(smooth=False),
        options or LiveOptions(),
        make_detector=detector or fakes.Detector(),
        make_lifter=lifter or fakes.Lifter,
        **more,
    )


def test_a_file_keeps_every_frame_however_slow_the_detector_and_the_viewer_are(fakes, tmp_path):
    """R2: 300 records without a gap, each with its time; the viewer skips, the file does not."""
    target = Target(tmp_path / "file.h5", None)
    options = LiveOptions(tmp_path, record=True, target=target, every=True)
    slow = fakes.Detector(lambda i: 0.02 if i % 10 == 0 else 0.0)
    summary = _run(fakes, fakes.Source(300, live=False), slow, fakes.Viewer(seconds=0.05), options)
    counts = _whole(summary)
    assert (counts.captured, counts.processed, counts.lost, counts.recorded) == (300, 300, 0, 300)
    recording = read_h5(target.recording)
    np.testing.assert_allclose(recording.pts, np.arange(300) / 30)
    np.testing.assert_array_equal(recording.tracks[0].frame, np.arange(300))
    np.testing.assert_allclose(recording.tracks[0].pose[:, 5, 0], 0.001 * np.arange(300), atol=1e-6)
    assert summary.files == (target.recording,)


def _resident():
    """Bytes of memory in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("every", [False, True])
def test_memory_stays_flat(fakes, every):
    """R3, on fewer frames than the promise's 20,000 (benchmarks/live_latency.py --soak runs those)."""
    marks = []
    source = fakes.Source(1800, live=not every, size=(320, 240))
    pictures = source.frames

    def counted(gate):
        for captured in pictures(gate):
            if captured.frame.index in (500, 1799):
                marks.append(_resident())
            captured = type(captured)(
                type(captured.frame)(captured.frame.index, captured.frame.pts, captured.frame.image.copy()), captured.at
            )
            yield captured

    source.frames = counted
    counts = _whole(_run(fakes, source, options=LiveOptions(every=every)))
    assert counts.captured == 1800
    assert marks[1] - marks[0] < 20 << 20  # one leaked picture in five would be 57 MiB


COUNT = 40


@pytest.mark.parametrize("at", [0, COUNT // 2, COUNT - 1])
@pytest.mark.parametrize("place", ["source", "detect", "lift", "aggregate", "render", "show", "write"])
@pytest.mark.parametrize("every", [False, True])
def test_a_failing_stage_ends_the_run_with_its_own_traceback(fakes, monkeypatch, tmp_path, place, at, every):
    """R4: within 3 s, and nothing half-written is left."""
    when = {place: at}
    culprits = {
        "source": fakes.Source(COUNT, 0 if every else 200, live=not every, fail_at=when.get("source")),
        "detect": fakes.Detector(fail_at=when.get("detect")),
        "show": fakes.Viewer(fail_at=when.get("show")),
    }
    failed = []
    if place == "write":
        from posepipe.pipeline.live import recorder

        honest = recorder.write_result

        def write(rows, result):
            if result.frame.index >= at:
                failed.append(time.monotonic())
                raise RuntimeError("the disk broke")
            return honest(rows, result)

        monkeypatch.setattr(recorder, "write_result", write)
    frame_now = [0]

    def breaking(*given, **more):
        if frame_now[0] >= at:
            failed.append(time.monotonic())
            raise RuntimeError(f"{place} broke")
        return honest_part(*given, **more)

    if place == "aggregate":
        honest_part = lifting.aggregate
        monkeypatch.setattr(lifting, "aggregate", breaking)
    if place == "render":
        honest_part = layout.draw_view3d
        monkeypatch.setattr(layout, "draw_view3d", breaking)

        def show(frame, honest=culprits["show"].show):
            frame_now[0] = frame.frame.index
            honest(frame)
            layout.compose(frame.frame.image, frame.tracks, frame.caption, frame.view, GroundState())

        monkeypatch.setattr(culprits["show"], "show", show)

    class Noting(LiftStage):
        def lift(self, frame, poses, wanted):
            frame_now[0] = frame.index
            return super().lift(frame, poses, wanted)

    def lifter(*given):
        if place == "aggregate":
            return Noting(*given)
        made = fakes.Lifter(*given, fail_at=when.get("lift"))
        culprits["lift"] = made
        return made

    target = Target(tmp_path / "x.h5", None)
    options = LiveOptions(tmp_path, record=True, target=target, every=every)
    if not every:
        culprits["source"].count = None if place != "source" else COUNT
    summaries = []
    with pytest.raises(RuntimeError, match="broke") as caught:
        _run(
            fakes, culprits["source"], culprits["detect"], culprits["show"], options, lifter=lifter,
            on_end=summaries.append,
        )  # fmt: skip
    since = failed[0] if failed else culprits[place].failed_at
    assert time.monotonic() - since < 3.0
    functions = [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert {"source": "frames", "aggregate": "breaking", "render": "breaking"}.get(place, place) in functions
    _whole(summaries[0])
    assert culprits["source"].closed
    assert culprits["show"].closed
    assert not any(p.name.startswith(".") for p in tmp_path.iterdir())
    if every:
        assert list(tmp_path.iterdir()) == []
    elif place == "show":
        read_h5(target.recording)  # what a camera saw cannot be had again: kept, and whole


def test_threads_are_gone_afterwards(fakes):
    before = set(threading.enumerate())
    _run(fakes, fakes.Source(20))
    with pytest.raises(RuntimeError):
        _run(fakes, fakes.Source(20), fakes.Detector(fail_at=0), options=LiveOptions(every=True))
    assert set(threading.enumerate()) <= before


def test_only_the_thread_that_reads_a_source_closes_it(fakes):
    """PyAV frees what the reading thread stands in when another one closes it: a crash of the whole program."""
    source = fakes.Source(20)
    _run(fakes, source)
    assert source.closed_by == "capture"
    source = fakes.Source(None, 100.0)
    _run(fakes, source, viewer=fakes.Viewer(script={3: "q"}))
    assert source.closed_by == "capture"
    source = fakes.Source(20)  # never read: the settings do not work
    with pytest.raises(UsageError):
        _run(fakes, source, settings=RunSettings(fov_deg=500))
    assert source.closed_by == "MainThread"


def test_a_source_that_hangs_does_not_keep_the_run_alive(fakes):
    source, free = fakes.Source(None, 100.0), threading.Event()
    frames = source.frames

    def hanging(gate):
        for captured in frames(gate):
            if captured.frame.index == 10:
                free.wait(20)
            yield captured

    source.frames = hanging
    start = time.monotonic()
    summary = _run(fakes, source, viewer=fakes.Viewer(script={5: "q"}))
    assert summary.stuck in ((), ("capture",))
    viewer = fakes.Viewer()
    source2 = fakes.Source(None, 100.0)
    source2.frames = hanging
    timer = threading.Timer(1.0, lambda: viewer._typed.append("q"))
    timer.start()
    summary = _run(fakes, source2, viewer=viewer)
    assert summary.stuck == ("capture",)
    assert not source2.closed
    assert time.monotonic() - start < 8
    free.set()


def test_a_picture_that_gets_old_says_so(fakes):
    source, viewer = fakes.Source(None, 100.0), fakes.Viewer()
    frames = source.frames

    def stalling(gate):
        for captured in frames(gate):
            if captured.frame.index == 10:
                gate.wait(3.5)
                return
            yield captured

    source.frames = stalling
    _run(fakes, source, viewer=viewer)
    last = viewer.seen[-1]
    assert last.repeated
    assert last.status.age_ms > 2000
    assert "No new picture" in last.status.trouble


def test_max_frames_counts_finished_frames(fakes):
    counts = _whole(_run(fakes, fakes.Source(None, 200.0), settings=RunSettings(max_frames=17)))
    assert counts.processed == 17
    counts = _whole(_run(fakes, fakes.Source(50), options=LiveOptions(every=True), settings=RunSettings(max_frames=17)))
    assert (counts.captured, counts.processed) == (17, 17)


def test_record_pause_hypotheses_and_snapshot_by_keys(fakes, tmp_path):
    viewer = fakes.Viewer(script={5: "r", 20: "r", 25: "h", 30: "h+", 35: "s", 40: "v", 45: "q"})
    said = []
    summary = _run(fakes, fakes.Source(None, 60.0), viewer=viewer, options=LiveOptions(tmp_path), say=said.append)
    _whole(summary)
    h5, mp4 = summary.files
    recording = read_h5(h5)
    assert len(recording.pts) == summary.counts.recorded
    assert 8 <= len(recording.pts) <= 25
    assert recording.header["hypotheses"] == fakes.HYPOTHESES
    assert recording.header["source"] == "fake source"
    assert (np.diff(recording.tracks[0].frame) == 1).all()
    assert mp4.stat().st_size > 1000
    assert [p.suffix for p in sorted(tmp_path.iterdir())].count(".png") == 1
    without = [f for f in viewer.seen if f.tracks and f.tracks[0].hypotheses is None]
    assert without
    assert all(f.tracks[0].pose3d is not None for f in without)
    assert viewer.seen[-1].tracks[0].hypotheses.joints.shape[0] == 5  # the next on the ladder after 3
    assert viewer.seen[-1].view.yaw_deg == pytest.approx(80)
    assert any("recording to" in line for line in said)
    assert any(f.status.recording for f in viewer.seen)


def test_pause_drops_and_counts_a_camera_but_holds_a_file(fakes):
    viewer = fakes.Viewer(script={10: " "})
    threading.Timer(1.2, lambda: viewer._typed.append(" ")).start()
    counts = _whole(_run(fakes, fakes.Source(90, 60.0), viewer=viewer))
    assert counts.captured == 90
    assert 15 <= counts.dropped["paused"] <= 75
    viewer = fakes.Viewer(script={3: " "})
    threading.Timer(0.8, lambda: viewer._typed.append(" ")).start()
    counts = _whole(_run(fakes, fakes.Source(90, live=False), viewer=viewer, options=LiveOptions(every=True)))
    assert (counts.captured, counts.processed) == (90, 90)


def test_nobody_in_the_picture_is_an_explicit_row_and_nothing_stale_is_shown(fakes, tmp_path):
    """R14."""
    target, viewer = Target(tmp_path / "x.h5", None), fakes.Viewer()
    gone = frozenset(range(10, 20))
    options = LiveOptions(tmp_path, record=True, target=target, every=True)
    _run(fakes, fakes.Source(30, live=False), fakes.Detector(nobody=gone), viewer, options)
    recording = read_h5(target.recording)
    expected = [STATUS_NO_PERSON if i in gone else STATUS_OK for i in range(30)]
    np.testing.assert_array_equal(recording.status, expected)
    assert set(recording.tracks[0].frame) == set(range(30)) - gone
    for shown in viewer.seen:
        assert (shown.tracks == ()) == (shown.frame.index in gone)


def test_a_file_has_the_same_bytes_whatever_the_queues_and_threads_do(fakes, tmp_path):
    """R11, through the real lifter; the detector's threads are somebody else's test."""
    rng, contents = np.random.default_rng(1), []
    for run, (depth, wobble) in enumerate(((1, 0.0), (4, 0.004), (32, 0.002))):
        waits = rng.uniform(0, wobble, 40) if wobble else np.zeros(40)
        target = Target(tmp_path / f"{run}.h5", None)
        run_live(
            fakes.Source(40, live=False),
            fakes.Viewer(seconds=wobble),
            RunSettings(seed=3),
            LiveOptions(tmp_path, record=True, target=target, every=True, depth=depth),
            make_detector=fakes.Detector(lambda i, w=waits: float(w[i])),
        )
        contents.append(target.recording.read_bytes())
    assert contents[0] == contents[1] == contents[2]
    with h5py.File(target.recording) as file:
        assert file.attrs["frames"] == 40
        assert np.ptp(file["tracks/0/hypotheses"][:], axis=1).max() > 0.01


def test_switching_the_lifter_while_running(fakes):
    viewer = fakes.Viewer(script={5: "l"})
    timer = threading.Timer(4.0, lambda: viewer._typed.append("q"))
    timer.start()
    summary = run_live(fakes.Source(None, 30.0), viewer, RunSettings(lifter="martinez"), make_detector=fakes.Detector())
    timer.cancel()
    _whole(summary)
    assert summary.lifter == "mdn"
    assert {f.caption.lifter for f in viewer.seen} == {"martinez", "mdn"}


def test_a_folder_that_cannot_be_written_ends_the_run_with_a_sentence(fakes, tmp_path):
    (tmp_path / "file").write_text("in the way")
    options = LiveOptions(tmp_path / "file", record=True)
    with pytest.raises(OutputError):
        _run(fakes, fakes.Source(None, 100.0), options=options)
