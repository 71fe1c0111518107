"""The main job end to end on real files: a filmed actor, a video without anybody, and things that are no video."""

import hashlib
import json
import shutil

import av
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.lifters.catalogue import WEIGHTS
from posepipe.pipeline.film import film
from posepipe.pipeline.refine.stature import stature
from posepipe.pipeline.run import run_file
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import STATUS_NO_PERSON, STATUS_OK, read_h5
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.actor import ActorScene, render_frame
from posepipe.point_estimate import geometric_median

FRAMES = 18
SCENE = ActorScene("wave", seconds=FRAMES / 15, fps=15, width=384, height=384, fov_deg=55, yaw_deg=20)


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "actor.mp4"
    return path, film((SCENE,), path)


@pytest.fixture(scope="module")
def result(actor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    summary = run_file(actor[0], folder, RunSettings(fov_deg=55))
    return folder, summary, read_h5(folder / "actor.h5")


@pytest.fixture(scope="module")
def empty_room(tmp_path_factory):
    path = tmp_path_factory.mktemp("room") / "room.mp4"
    with VideoWriter(path, 320, 240, 15) as writer:
        for i in range(8):
            writer.write(np.full((240, 320, 3), 90, np.uint8), i / 15)
    return path


def test_every_frame_is_there_and_nearly_all_show_the_person(result):
    _, summary, recording = result
    assert summary.frames == FRAMES == len(recording.pts)
    assert summary.frames_with_person >= FRAMES - 2
    assert summary.tracks == 1
    np.testing.assert_allclose(np.diff(recording.pts), 1 / 15, atol=1e-4)
    assert (recording.status == STATUS_OK).sum() == summary.frames_with_person


def test_keypoints_and_place_are_the_actors(actor, result):
    truth, track = actor[1], result[2].tracks[0]
    torso = np.linalg.norm(truth.keypoints[:, 8] - truth.keypoints[:, 0], axis=-1).mean()
    miss = np.linalg.norm(track.keypoints_2d - truth.keypoints[track.frame], axis=-1)
    assert np.median(miss) < 0.12 * torso
    assert root_errors(track.root, truth, track.frame).mean() < 0.08, "known intrinsics"
    assert root_errors(track.root_smoothed, truth, track.frame).mean() < 0.08


def root_errors(root, truth, frames):
    """(N,) shares of the distance."""
    exact = truth.joints[frames, 0]
    return np.linalg.norm(root - exact, axis=-1) / np.linalg.norm(exact, axis=-1)


def test_an_assumed_camera_is_said_and_costs_what_its_angle_is_off(actor, tmp_path, capsys):
    """55 degrees taken for 60: everything stands tan(27.5) / tan(30) = 0.90 as far away."""
    assert main(["run", str(actor[0]), "-o", str(tmp_path), "--no-overlay", "--no-smooth", "--aggregate", "mean"]) == 0
    assert "camera assumed: 60°" in capsys.readouterr().out
    recording = read_h5(tmp_path / "actor.h5")
    track, truth = recording.tracks[0], actor[1]
    assert root_errors(track.root, truth, track.frame).mean() < 0.15
    ratio = np.median(track.root[:, 2] / truth.joints[track.frame, 0, 2])
    assert ratio == pytest.approx(np.tan(np.radians(27.5)) / np.tan(np.radians(30)), abs=0.05)
    assert track.pose_smoothed is None
    assert recording.header["aggregate"] == "mean"
    weights = np.exp(track.log_weights)[..., None, None]
    np.testing.assert_allclose(track.pose, (weights * track.hypotheses).sum(1), atol=1e-3)


def test_a_file_that_tells_its_lens_is_placed_as_if_the_camera_were_given(actor, result, tmp_path, capsys):
    """The same pictures with a phone's tag: 29 mm, a square of 43.27 mm across: 55.6 degrees."""
    with (
        av.open(str(actor[0])) as source,
        av.open(str(tmp_path / "phone.mov"), "w", options={"movflags": "use_metadata_tags"}) as copy,
    ):
        copy.metadata["com.apple.quicktime.camera.focal_length.35mm_equivalent"] = "29"
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    assert main(["run", str(tmp_path / "phone.mov"), "-o", str(tmp_path), "--no-overlay"]) == 0
    assert "camera from the file: 56° over the longer side (29 mm equivalent)" in capsys.readouterr().out
    recording = read_h5(tmp_path / "phone.h5")
    camera = json.loads(recording.header["camera"])
    assert (camera["origin"], camera["assumed"]) == ("from the file", False)
    track = recording.tracks[0]
    assert root_errors(track.root, actor[1], track.frame).mean() < 0.08
    np.testing.assert_allclose(track.keypoints_2d, result[2].tracks[0].keypoints_2d)


def test_a_given_height_sets_the_scale_of_everything(actor, result, tmp_path):
    run_file(actor[0], tmp_path, RunSettings(fov_deg=55, overlay=False, height=2.0))
    tall, track = read_h5(tmp_path / "actor.h5").tracks[0], result[2].tracks[0]
    assert np.median(stature(tall.pose)) == pytest.approx(2.0, rel=0.02)
    for name in ("pose", "root", "joint_std", "pose_smoothed", "root_smoothed"):
        np.testing.assert_allclose(getattr(tall, name), tall.scale * getattr(track, name), rtol=1e-4, atol=1e-5)


def test_pose_is_the_aggregate_and_std_the_spread_around_it(result):
    track = result[2].tracks[0]
    joints, weights = track.hypotheses.astype(np.float32), np.exp(track.log_weights)
    np.testing.assert_allclose(track.pose, geometric_median(joints, track.log_weights), atol=1e-3)
    square = ((joints - track.pose[:, None]) ** 2).sum(-1)
    np.testing.assert_allclose(track.joint_std, np.sqrt((weights[..., None] * square).sum(1)), atol=2e-3)
    assert (track.joint_std[:, 1:] > 0.003).all()


def test_header_says_how_it_was_made(result):
    header = result[2].header
    assert (header["units"], header["skeleton"], header["lifter"]) == ("m", "h36m17", "mdn")
    assert header["conversion"] == "blazepose33-h36m17@1"
    camera = json.loads(header["camera"])
    assert camera["assumed"] is False
    assert camera["fx"] == pytest.approx(192 / np.tan(np.radians(27.5)))
    assert (header["aggregate"], header["noise_refresh"], header["lifted_from"]) == ("median", 4.0, "keypoints_2d")
    assert header["smoothed"] == ("pose_smoothed", "root_smoothed")


def test_overlay_is_h264_with_every_frame(result):
    with av.open(str(result[1].overlay)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
    assert len(pictures) == FRAMES
    left, right = pictures[-1][:, :700], pictures[-1][:, 740:]
    assert left.std() > 20
    assert right.std() > 5


def test_same_file_seed_and_backend_give_the_same_bytes(actor, result, tmp_path):
    folder = result[0]
    run_file(actor[0], tmp_path, RunSettings(fov_deg=55))
    for name in ("actor.h5", "actor.overlay.mp4"):
        first, second = (hashlib.sha256((f / name).read_bytes()).hexdigest() for f in (folder, tmp_path))
        assert first == second, name


def test_another_seed_gives_other_hypotheses_of_the_same_keypoints(actor, result, tmp_path):
    run_file(actor[0], tmp_path, RunSettings(fov_deg=55, seed=1, overlay=False, max_frames=4))
    other, track = read_h5(tmp_path / "actor.h5").tracks[0], result[2].tracks[0]
    np.testing.assert_array_equal(other.keypoints_2d, track.keypoints_2d[: len(other.frame)])
    assert np.abs(other.hypotheses - track.hypotheses[: len(other.frame)]).max() > 0.01
    assert not (tmp_path / "actor.overlay.mp4").exists()


def test_nobody_in_the_picture_is_said_and_recorded(empty_room, tmp_path, capsys):
    assert main(["run", str(empty_room), "-o", str(tmp_path)]) == 1
    assert "No person was found in any of the 8 frames" in capsys.readouterr().err
    recording = read_h5(tmp_path / "room.h5")
    assert (recording.status == STATUS_NO_PERSON).all()
    assert recording.tracks == {}


def _not_video(kind, tmp_path):
    path = tmp_path / f"{kind}.mp4"
    if kind == "text":
        path.write_text("this is not a video\n" * 100)
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["text", "empty", "folder", "missing"])
def test_what_is_no_video_gets_one_sentence_and_leaves_nothing(kind, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(_not_video(kind, tmp_path)), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("posepipe run: ")
    assert error.count("\n") == 1
    assert not out.exists() or list(out.iterdir()) == []


def test_unwritable_folder_is_said_before_the_work(empty_room, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["run", str(empty_room), "-o", str(tmp_path / "file" / "out")]) == 1
    assert "file, not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--lifter", "mdm"], "Did you mean mdn?"),
        (["--hypotheses", "0"], "0 hypotheses"),
        (["--fov", "500"], "field of view"),
        (["--max-frames", "0"], "--max-frames"),
        (["--height", "175"], "metres"),
        (["--noise-refresh", "-1"], "--noise-refresh"),
        (["--lifter", "martinez", "--hypotheses", "9"], "always gives 1"),
    ],
)
def test_impossible_settings_are_usage_errors(argv, says, empty_room, tmp_path, capsys):
    assert main(["run", str(empty_room), "-o", str(tmp_path / "o"), *argv]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "o").exists() or list((tmp_path / "o").iterdir()) == []


def test_an_exception_midway_leaves_nothing_behind(actor, tmp_path):
    def interrupt(result):
        if result.frame.index == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_file(actor[0], tmp_path, RunSettings(), on_frame=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_two_people_give_one_steady_track(tmp_path):
    """BlazePose follows one person: the other must not make the identity jump to and fro."""
    left, right = (ActorScene(m, 1, 12, 256, 320, 60, yaw_deg=10, seed=s) for m, s in (("wave", 1), ("turn", 2)))
    with VideoWriter(tmp_path / "two.mp4", 512, 320, 12) as writer:
        for i in range(12):
            pair = np.concatenate([render_frame(scene, i)[0].image for scene in (left, right)], 1)
            writer.write(pair, i / 12)
    summary = run_file(tmp_path / "two.mp4", tmp_path, RunSettings(overlay=False))
    assert summary.frames == 12
    assert summary.frames_with_person >= 10
    assert summary.tracks <= 2


def test_a_graph_by_path_gives_the_same_bytes_from_any_folder(actor, tmp_path):
    """The file says which graph made it, not where that lay."""
    for name in ("one", "two"):
        shutil.copytree(WEIGHTS, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        graph = str(tmp_path / name / "martinez.onnx")
        run_file(actor[0], tmp_path / f"out-{name}", RunSettings(lifter=graph, overlay=False, max_frames=3))
    first, second = (tmp_path / f"out-{name}" / "actor.h5" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert read_h5(first).header["lifter"] == "martinez.onnx"
