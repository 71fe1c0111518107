"""What a result file gets when it is closed: smoothed columns, people of a given height, the ground; older files."""

import json

import h5py
import numpy as np
import pytest

from posepipe.camera import from_fov, project
from posepipe.errors import UsageError
from posepipe.pipeline.export.choose import chosen, load, parse_pose
from posepipe.pipeline.refine.ground import ground_from_json
from posepipe.pipeline.refine.stature import stature
from posepipe.pipeline.sink.h5 import H5Writer, read_h5
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.skeleton import H36M_17

FRAMES, H = 300, 3
SOURCE = ActorSource(ActorScene("walk", FRAMES / 25, 25, 640, 480, 60, 30, 15))
TRUTH = np.stack([SOURCE.truth(i).joints_camera for i in range(FRAMES)])
CAMERA = from_fov(640, 480, 60)
TEXT = ("posepipe_version", "source", "source_sha256", "detector", "conversion", "lifter", "backend")


def record(path, sizes=(1.0,), **more):
    """People that are `sizes` times the actor, as a lifter might see them."""
    header = {name: name for name in (*TEXT, "checkpoint_sha256")} | {
        "width": 640,
        "height": 480,
        "fps": 25.0,
        "skeleton": H36M_17.name,
        "joint_names": H36M_17.joints,
        "hypotheses": H,
        "steps": 0,
        "seed": 0,
        "camera": CAMERA.to_json(),
    }
    with H5Writer(path, header | more) as out:
        for i in range(FRAMES):
            out.frame(i / 25, 0)
            for track, size in enumerate(sizes):
                joints = size * (TRUTH[i] - TRUTH[i, :1])
                root = size * TRUTH[i, 0]
                smoothed = {"pose_smoothed": joints, "root_smoothed": root} if "smoothed" in more else None
                out.row(
                    track,
                    i,
                    project(TRUTH[i], CAMERA),
                    np.ones(17),
                    np.repeat(joints[None], H, 0),
                    np.full(H, -np.log(H)),
                    joints,
                    np.full(17, 0.1 * size),
                    root,
                    smoothed,
                )
    return path


def test_everybody_gets_the_given_height_and_pixels_stay(tmp_path):
    names = ("pose_smoothed", "root_smoothed")
    recording = read_h5(record(tmp_path / "a.h5", (0.8, 1.3), smoothed=names, person_height=1.9))
    for track, size in zip(recording.tracks.values(), (0.8, 1.3), strict=True):
        assert np.median(stature(track.pose)) == pytest.approx(1.9, rel=1e-3)
        assert track.scale == pytest.approx(1.9 / 1.72 / size, rel=0.01)
        np.testing.assert_allclose(project(track.pose + track.root[:, None], CAMERA), track.keypoints_2d, atol=0.05)
        np.testing.assert_allclose(track.joint_std, 0.1 * size * track.scale, rtol=1e-5)
        np.testing.assert_allclose(track.hypotheses[:, 0], track.pose, atol=1.5e-3)
        np.testing.assert_allclose(track.pose_smoothed, track.pose, atol=1e-6)
        np.testing.assert_allclose(track.root_smoothed, track.root, atol=1e-6)
    true = SOURCE.view.position[1] * 1.9 / 1.72
    assert ground_from_json(str(recording.header["ground"])).height == pytest.approx(true, abs=0.05)


def test_without_a_height_nothing_is_scaled(tmp_path):
    recording = read_h5(record(tmp_path / "a.h5", (0.9,)))
    assert recording.tracks[0].scale == 1.0
    np.testing.assert_allclose(recording.tracks[0].pose, 0.9 * (TRUTH - TRUTH[:, :1]), atol=1e-6)
    assert recording.tracks[0].pose_smoothed is None
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["tracks/0"].attrs["stature"] == pytest.approx(0.9 * 1.72, rel=0.01)


def test_the_same_rows_give_the_same_bytes_with_a_height_too(tmp_path):
    one, other = (record(tmp_path / name, person_height=1.6).read_bytes() for name in ("a.h5", "b.h5"))
    assert one == other


def test_a_promised_column_that_is_not_given_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(KeyError, match="keypoints_2d_smoothed"):
        record(tmp_path / "a.h5", smoothed=("pose_smoothed", "keypoints_2d_smoothed"))
    assert list(tmp_path.iterdir()) == []


def test_smoothed_poses_can_be_exported_and_are_missed_where_there_are_none(tmp_path):
    path = record(tmp_path / "a.h5", smoothed=("pose_smoothed", "root_smoothed"))
    with h5py.File(path, "r+") as file:
        file["tracks/0/pose_smoothed"][:, 3] = [1, 2, 3]
        file["tracks/0/root_smoothed"][:] = [4, 5, 6]
    loaded = load(path, parse_pose("smoothed")).tracks[0]
    assert (chosen(loaded, parse_pose("smoothed"))[:, 3] == [1, 2, 3]).all()
    assert (loaded.root == [4, 5, 6]).all()
    np.testing.assert_array_equal(load(path, parse_pose("aggregate")).tracks[0].root, read_h5(path).tracks[0].root)
    with pytest.raises(UsageError, match="no smoothed poses"):
        load(record(tmp_path / "b.h5"), parse_pose("smoothed"))


def test_files_from_before_are_read_as_ever(tmp_path):
    path = record(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        assert json.loads(file.attrs["ground"])["looks"] == FRAMES
        del file.attrs["ground"]
        for name in ("scale", "stature"):
            del file["tracks/0"].attrs[name]
    recording = read_h5(path)
    assert (recording.tracks[0].scale, recording.tracks[0].root_smoothed) == (1.0, None)
    assert "ground" not in recording.header


def test_nobody_in_the_picture_has_no_ground(tmp_path):
    assert "ground" not in read_h5(record(tmp_path / "a.h5", ())).header
