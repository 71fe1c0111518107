"""The detector: MediaPipe's own answers, at the frames' own times, quietly, and clear words when it cannot run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from posepipe.errors import MissingDependencyError, UsageError
from posepipe.pipeline.detect import mediapipe_graph
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.detect.quiet import stderr_without
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.file import VideoFile
from posepipe.skeleton import BLAZEPOSE_33
from posepipe.types import Frame, Pose2D

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")


@pytest.fixture(scope="module")
def actor() -> tuple[list[Frame], np.ndarray]:
    """Twelve frames of the rendered actor, and its exact landmarks, (12, 33, 2) pixels."""
    source = ActorSource(ActorScene(motion="wave", width=480, height=640))
    rendered = [source.render(index) for index in range(12)]
    return [frame for frame, _ in rendered], np.stack([truth.blazepose for _, truth in rendered])


def detect(frames: list[Frame], **options: object) -> list[Pose2D | None]:
    with BlazePose(**options) as detector:  # type: ignore[arg-type]
        return [next(iter(detector.detect(frame)), None) for frame in frames]


def stacked(poses: list[Pose2D | None]) -> np.ndarray:
    """(T, 33, 6): keypoints, confidence, world."""
    return np.stack([np.hstack([p.keypoints, p.confidence[:, None], p.world]) for p in poses if p is not None])


def test_it_finds_the_actor_where_it_is(actor: tuple[list[Frame], np.ndarray]) -> None:
    frames, truth = actor
    poses = detect(frames)
    for pose, exact in zip(poses, truth, strict=True):
        assert pose is not None
        assert pose.skeleton == BLAZEPOSE_33.name
        assert pose.keypoints.shape == (33, 2)
        assert (pose.keypoints.dtype, pose.confidence.dtype) == (np.float32, np.float32)
        assert ((pose.confidence >= 0) & (pose.confidence <= 1)).all()
        limbs = [BLAZEPOSE_33.index(f"{s}_{j}") for s in "lr" for j in ("shoulder", "hip", "knee", "ankle")]
        torso = np.linalg.norm(exact[BLAZEPOSE_33.index("l_shoulder")] - exact[BLAZEPOSE_33.index("l_hip")])
        assert np.linalg.norm(pose.keypoints[limbs] - exact[limbs], axis=1).mean() < 0.15 * torso


def test_world_axes_are_those_of_our_camera(actor: tuple[list[Frame], np.ndarray]) -> None:
    """The actor faces us: its left is on our right (+x), its feet are down (+y), its nose is nearer than its ears."""
    world = stacked(detect(actor[0]))[-1, :, 3:]

    def at(name: str) -> np.ndarray:
        return world[BLAZEPOSE_33.index(name)]

    assert at("l_hip")[0] > 0.05 > -0.05 > at("r_hip")[0]
    np.testing.assert_allclose((at("l_hip") + at("r_hip")) / 2, 0, atol=0.02)
    assert at("l_ankle")[1] > 0.4
    assert at("nose")[1] < -0.3
    assert at("nose")[2] < (at("l_ear")[2] + at("r_ear")[2]) / 2 - 0.05


def test_it_is_mediapipe_bit_for_bit(actor: tuple[list[Frame], np.ndarray]) -> None:
    """Against MediaPipe's own solution, which takes every frame for a thirtieth of a second; with several threads."""
    frames = [Frame(frame.index, frame.index * 0.033333, frame.image) for frame in actor[0]]
    with stderr_without(mediapipe_graph.CHATTER):
        from mediapipe.python.solutions.pose import Pose

        with Pose() as solution:
            expected = []
            for frame in frames:
                result = solution.process(frame.image)
                expected.append(
                    [
                        (image.x * 480, image.y * 640, image.visibility, world.x, world.y, world.z)
                        for image, world in zip(
                            result.pose_landmarks.landmark, result.pose_world_landmarks.landmark, strict=True
                        )
                    ]
                )
    for threads in (1, 2):
        np.testing.assert_array_equal(stacked(detect(frames, max_threads=threads)), np.array(expected, np.float32))


def test_real_times_change_the_smoothing_and_only_that(actor: tuple[list[Frame], np.ndarray]) -> None:
    frames = actor[0]
    slow = [Frame(frame.index, frame.index * 0.5, frame.image) for frame in frames]
    assert np.abs(stacked(detect(slow)) - stacked(detect(frames)))[..., :2].max() > 0.1
    np.testing.assert_array_equal(stacked(detect(slow, static=True)), stacked(detect(frames, static=True)))


def test_a_clock_that_stands_still_or_starts_anew_is_survived(actor: tuple[list[Frame], np.ndarray]) -> None:
    times = [5.0, 5.0, 5.1, 0.0, float("nan"), 0.1, -7.0, 1e5]
    frames = [Frame(i, t, actor[0][i].image) for i, t in enumerate(times)]
    assert all(pose is not None for pose in detect(frames))
    strange_start = [Frame(i, t, actor[0][i].image) for i, t in enumerate((float("nan"), 3.0, 3.1))]
    assert all(pose is not None for pose in detect(strange_start))


def test_nobody_and_odd_pictures() -> None:
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (2, 700), (33, 31), (480, 640)]
    pictures = [np.zeros((height, width, 3), np.uint8) for height, width in sizes]
    pictures += [rng.integers(0, 256, (240, 320, 3), np.uint8), np.full((240, 320, 3), 255, np.uint8)]
    pictures.append(np.zeros((480, 640, 3), np.uint8)[::2, ::-1])  # not contiguous
    assert detect([Frame(i, i / 30, image) for i, image in enumerate(pictures)]) == [None] * len(pictures)


def test_a_person_cut_off_by_the_picture(actor: tuple[list[Frame], np.ndarray]) -> None:
    """Coordinates go on outside the picture, with a low confidence."""
    frames, truth = actor
    cut = int(truth[:, BLAZEPOSE_33.index("l_knee"), 1].min()) - 10
    poses = detect([Frame(f.index, f.pts, f.image[:cut]) for f in frames], static=True)
    ankles = [BLAZEPOSE_33.index("l_ankle"), BLAZEPOSE_33.index("r_ankle")]
    for pose in poses:
        assert pose is not None
        assert (pose.keypoints[ankles, 1] > cut).all()
        assert pose.confidence[ankles].max() < 0.3 < pose.confidence[BLAZEPOSE_33.index("nose")]


def test_a_model_that_is_not_there_is_not_downloaded() -> None:
    with pytest.raises(UsageError, match=r"pose_landmark_heavy.tflite.*Use complexity 1"):
        BlazePose(complexity=2)
    with pytest.raises(UsageError, match="no complexity 7"):
        BlazePose(complexity=7)


@pytest.mark.parametrize(
    ("error", "match"),
    [
        (
            ImportError("libGL.so.1: cannot open shared object file: No such file or directory"),
            r"libGL\.so\.1\. Run: sudo apt-get install -y libgl1 libglib2\.0-0$",
        ),
        (
            ImportError("libgthread-2.0.so.0: cannot open shared object file: No such file or directory"),
            r"libgthread-2\.0\.so\.0\. Run: sudo apt-get",
        ),
        (ModuleNotFoundError("No module named 'mediapipe'"), r"pip install mediapipe==0\.10\.21"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, error: ImportError, match: str) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name.startswith("mediapipe"):
                raise error

    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingDependencyError, match=match) as caught:
        BlazePose()
    assert "\n" not in str(caught.value)


_LIFE = """
import sys
sys.path.insert(0, sys.argv[1])
from posepipe.pipeline.detect.blazepose import BlazePose
from posepipe.pipeline.source.actor import ActorScene, ActorSource
frame, _ = ActorSource(ActorScene(width=480, height=640)).render(0)
for _ in range(2):
    with BlazePose() as detector:
        assert len(detector.detect(frame)) == 1
"""


def test_nothing_is_said_on_standard_error() -> None:
    run = subprocess.run([sys.executable, "-c", _LIFE, ""], capture_output=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@pytest.fixture
def real_stderr(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capfd.readouterr().err


def test_only_chatter_is_held_back(real_stderr: Callable[[], str]) -> None:
    def noisy() -> None:
        with stderr_without(re.compile(rb"INFO|W0000 .*known")):
            os.write(2, b"INFO: chatter\nE0000 a real error\nW0000 file.cc:1] known\nW0000 file.cc:2] unheard of\n")
            print("from Python", file=sys.stderr)
            raise KeyError

    with pytest.raises(KeyError):
        noisy()
    os.write(2, b"INFO: after the block\n")
    # Sorted: under pytest Python's own stream does not pass through descriptor 2.
    expected = ["E0000 a real error", "INFO: after the block", "W0000 file.cc:2] unheard of", "from Python"]
    assert sorted(real_stderr().splitlines()) == expected


@pytest.mark.shared
@needs_shared
def test_a_real_person_is_followed_and_faces_us() -> None:
    with VideoFile(SHARED / "videos" / "pose_squats.mp4") as video:
        poses = detect(list(video))
    assert all(pose is not None for pose in poses)
    table = stacked(poses)
    left, right = BLAZEPOSE_33.index("l_shoulder"), BLAZEPOSE_33.index("r_shoulder")
    facing = table[:, left, 0] > table[:, right, 0] + 20
    assert facing.mean() > 0.5
    nose, ears = table[:, 0, 5], table[:, [7, 8], 5].mean(1)
    assert (nose < ears)[facing].all(), "z grows away from the camera"
    assert (table[:, 27, 4] > table[:, 23, 4]).all(), "y grows downwards"
