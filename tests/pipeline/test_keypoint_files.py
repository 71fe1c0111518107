"""Keypoint files in the place of a detector: VideoPose3D's CPN detections, our own in three formats, result files."""

import h5py
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError, UsageError
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.keypoints import read_keypoints
from posepipe.skeleton import BLAZEPOSE_33, COCO_17

SCENE = ActorScene(motion="wave", seconds=0.4, fps=25, width=640, height=480)
SOURCE = ActorSource(SCENE)
TRUTH = [SOURCE.truth(i) for i in range(len(SOURCE))]
COCO = np.stack([t.blazepose[[BLAZEPOSE_33.index(n) for n in COCO_17.joints]] for t in TRUTH]).astype(np.float32)
FRAMES = len(TRUTH)


@pytest.fixture
def cpn(tmp_path):
    """A file as VideoPose3D's prepare scripts write it: dicts pickled inside an npz."""
    seen = np.stack([t.keypoints for t in TRUTH]).astype(np.float32)
    tree = {s: {a: [seen + 10 * c for c in range(4)] for a in ("Walking 1", "Photo")} for s in ("S9", "S11")}
    meta = {
        "layout_name": "h36m",
        "num_joints": 17,
        "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
    }
    path = tmp_path / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    np.savez_compressed(path, positions_2d=tree, metadata=meta)
    return path, seen


def two_people():
    """Both in every frame but the second, who has left in the last; ids 7 and 3, rows out of order."""
    other = COCO + [150, 0]
    frame = np.concatenate([np.arange(FRAMES - 1), np.arange(FRAMES)])
    person = np.concatenate([np.full(FRAMES - 1, 3), np.full(FRAMES, 7)])
    points = np.concatenate([other[:-1], COCO]).astype(np.float32)
    return frame, person, points


def write_npz(path):
    frame, person, points = two_people()
    np.savez(path, keypoints=points, frame=frame, person=person, skeleton="coco17", width=640, height=480, fps=25.0)


def write_h5(path):
    frame, person, points = two_people()
    with h5py.File(path, "w") as file:
        file.attrs.update({"skeleton": "coco17", "width": 640, "height": 480, "fps": 25.0})
        for name, array in (("keypoints", points), ("frame", frame), ("person", person)):
            file[name] = array


def write_csv(path):
    frame, person, points = two_people()
    lines = ["# skeleton=coco17 width=640 height=480 fps=25"]
    lines.append(",".join(["frame", "person", *(f"{j}_{a}" for j in COCO_17.joints for a in "xy")]))
    for f, p, row in zip(frame, person, points, strict=True):
        lines.append(",".join([str(f), str(p), *(repr(float(v)) for v in row.ravel())]))
    path.write_text("\n".join(lines) + "\n")


def test_cpn_detections_of_one_clip_are_lifted(cpn, tmp_path):
    path, seen = cpn
    command = ["run", "--keypoints", str(path), "--clip", "S11/Walking 1/55011271", "-o", str(tmp_path), "--no-overlay"]
    assert main([*command, "--fov", "47.2", "--lifter", "martinez"]) == 0
    with h5py.File(tmp_path / "S11_Walking-1_55011271.h5") as file:
        assert list(file["tracks"]) == ["0"]
        np.testing.assert_allclose(file["tracks/0/keypoints_2d"][:], seen + 10, atol=1e-3)
        assert np.isfinite(file["tracks/0/pose"][:]).all()
        said = dict(file.attrs)
    assert (said["conversion"], said["width"], said["height"], said["fps"]) == ("h36m17@1", 1000, 1000, 50.0)
    assert (said["detector"], said["keypoints"]) == ("keypoints", path.name)


@pytest.mark.parametrize("write", [write_npz, write_h5, write_csv])
def test_our_own_file_keeps_its_people_and_their_numbers(tmp_path, write):
    path = tmp_path / ("mine" + {write_npz: ".npz", write_h5: ".h5", write_csv: ".csv"}[write])
    write(path)
    clip = read_keypoints(path)
    assert (clip.frames, clip.skeleton, clip.fps) == (FRAMES, "coco17", 25.0)
    first, last = clip.poses(0), clip.poses(FRAMES - 1)
    assert [p.person for p in first] == [3, 7]
    np.testing.assert_allclose(first[1].keypoints, COCO[0], atol=1e-3)
    assert [p.person for p in last] == [7]
    assert clip.poses(FRAMES) == ()


def test_two_people_from_a_file_become_two_tracks_and_can_be_lifted_again(tmp_path):
    write_npz(tmp_path / "two.npz")
    assert main(["run", "--keypoints", str(tmp_path / "two.npz"), "-o", str(tmp_path), "--lifter", "martinez"]) == 0
    assert (tmp_path / "two.overlay.mp4").is_file()
    with h5py.File(tmp_path / "two.h5") as file:
        assert sorted(file["tracks"]) == ["3", "7"]
        assert len(file["tracks/3/frame"]) == FRAMES - 1
        assert file.attrs["conversion"] == "coco17-h36m17@2"
        before = file["tracks/7/keypoints_2d"][:]
    again = read_keypoints(tmp_path / "two.h5")
    assert again.skeleton == "h36m17"
    np.testing.assert_array_equal(again.keypoints[again.person == 7], before)


@pytest.mark.parametrize(
    ("clip", "text"),
    [
        (None, r"many clips. Choose one: --clip 'S9/Walking 1/0'"),
        ("S9", r"not SUBJECT/ACTION/CAMERA"),
        ("S1/Photo/0", r"no subject S1. It has: S9, S11"),
        ("S9/Waving/0", r"no action 'Waving' of S9. It has: Walking 1, Photo"),
        ("S9/Photo/9", r"no camera 9"),
    ],
)
def test_a_clip_that_is_not_there_is_refused_with_those_that_are(cpn, clip, text):
    with pytest.raises(UsageError, match=text):
        read_keypoints(cpn[0], clip)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"skeleton": "coco18"}, "'coco18' is not known. Did you mean 'coco17'"),
        ({"skeleton": "h36m"}, "'h36m' is not known"),
        ({"keypoints": np.zeros((3, 16, 2))}, r"shape \(3, 16, 2\), not"),
        ({"frame": np.array([0, 1, -1])}, "numbers from 0"),
        ({"frame": np.array([0, 1, np.nan])}, "numbers from 0"),
        ({"person": np.array([0, 0, 0]), "frame": np.array([0, 1, 1])}, "person 0 is twice in frame 1"),
        ({"fps": 0}, "make no film"),
        ({"width": "wide"}, "'width' is not a number"),
    ],
)
def test_damaged_files_are_one_sentence(tmp_path, change, text):
    good = {"keypoints": np.zeros((3, 17, 2)), "frame": np.arange(3), "skeleton": "coco17"}
    np.savez(tmp_path / "x.npz", **{**good, "width": 64, "height": 64, "fps": 25, **change})
    with pytest.raises(InputError, match=text) as caught:
        read_keypoints(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


def test_files_that_are_something_else_are_refused(tmp_path):
    for name, content in (("a.npz", b"no"), ("a.h5", b"no"), ("a.csv", b"frame,person\n"), ("a.txt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            read_keypoints(tmp_path / name)
    with pytest.raises(InputError, match="There is no keypoint file"):
        read_keypoints(tmp_path / "none.npz")
