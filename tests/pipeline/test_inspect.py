"""`posepipe inspect`: a sheet that shows names and sides, and a hint that notices when sides are exchanged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.pipeline.film import film
from posepipe.pipeline.inspect_sheet import TILE_HEIGHT, TILE_WIDTH, draw_sheet, draw_tile
from posepipe.pipeline.inspect_video import (
    EXCHANGED,
    PLAUSIBLE,
    UNCLEAR,
    Inspection,
    Sample,
    inspect_video,
    judge_sides,
    sample_frames,
    verdict,
)
from posepipe.pipeline.render.palette import LEFT, RIGHT
from posepipe.pipeline.sink.video import VideoWriter
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.file import VideoFile
from posepipe.skeleton import BLAZEPOSE_33, H36M_17
from posepipe.types import Frame, Pose2D

SWAPPED = replace(
    BLAZEPOSE33_H36M17,
    name="swapped@1",
    rules={
        {"l_": "r_", "r_": "l_"}.get(joint[:2], joint[:2]) + joint[2:]: rule
        for joint, rule in BLAZEPOSE33_H36M17.rules.items()
    },
)


@pytest.fixture(scope="module")
def actor_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "actor.mp4"
    film((ActorScene(motion="wave", seconds=1.0, fps=20.0, width=320, height=400),), path)
    return path


def seen(yaw_deg: float, motion: str = "squat") -> Pose2D:
    """What a perfect detector says: the actor's exact landmarks, in pixels and in metres."""
    source = ActorSource(ActorScene(motion=motion, yaw_deg=yaw_deg, width=96, height=96))
    pose, truth = source.pose(10), source.truth(10)
    world = source.view.to_camera(np.stack([pose.joint(name) for name in BLAZEPOSE_33.joints]))
    middle = (world[BLAZEPOSE_33.index("l_hip")] + world[BLAZEPOSE_33.index("r_hip")]) / 2
    return Pose2D(
        truth.blazepose.astype(np.float32), np.ones(33, np.float32), "blazepose33", (world - middle).astype(np.float32)
    )


@pytest.mark.parametrize("yaw", [0, 45, 90, 135, 180, 270])
@pytest.mark.parametrize("motion", ["walk", "squat"])
def test_exchanged_sides_are_noticed_from_every_side(yaw: float, motion: str) -> None:
    assert judge_sides(seen(yaw, motion), BLAZEPOSE33_H36M17) == PLAUSIBLE
    assert judge_sides(seen(yaw, motion), SWAPPED) == EXCHANGED


def test_without_the_detectors_3d_nothing_is_claimed() -> None:
    assert judge_sides(replace(seen(0), world=None), BLAZEPOSE33_H36M17) == UNCLEAR
    flat = replace(seen(0), world=np.zeros((33, 3), np.float32))
    assert judge_sides(flat, BLAZEPOSE33_H36M17) == UNCLEAR


def test_samples_are_spread_evenly(actor_film: Path, tmp_path: Path) -> None:
    assert [f.index for f in sample_frames(actor_film, 4)] == [2, 7, 12, 17]
    assert [f.index for f in sample_frames(actor_film, 60)] == list(range(20))


def test_samples_are_spread_over_what_is_left_of_a_cut_file(tmp_path: Path) -> None:
    """Matroska can be cut anywhere, and its header still claims the whole length."""
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "long.mp4", 64, 64, 20.0) as out:
        for index in range(40):
            out.write(rng.integers(0, 255, (64, 64, 3), np.uint8), index / 20)
    path = tmp_path / "long.mkv"
    with av.open(str(tmp_path / "long.mp4")) as given, av.open(str(path), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with VideoFile(path) as video:
        left = sum(1 for _ in video)
        assert left < 35 < (video.info.frames or 0)
    assert [f.index for f in sample_frames(path, 4)] == [int((k + 0.5) * left / 4) for k in range(4)]


def test_the_actor(actor_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "sheet.png"
    assert main(["inspect", str(actor_film), "-o", str(out), "--frames", "3"]) == 0
    said = capsys.readouterr().out
    assert "3 frames sampled, 3 with a person" in said
    assert "3 plausible, 0 exchanged" in said
    sheet = cv2.imread(str(out))
    assert sheet is not None
    assert sheet.shape[1] > 3 * 400
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


def test_a_swapped_conversion_is_flagged(actor_film: Path) -> None:
    inspection = inspect_video(actor_film, 2, SWAPPED)
    assert inspection.count(EXCHANGED) == 2
    assert verdict(inspection) == (EXCHANGED, "LEFT AND RIGHT LOOK EXCHANGED in 2 of 2: suspect the conversion")
    plain = replace(inspection, samples=tuple(replace(s, sides=PLAUSIBLE) for s in inspection.samples))
    assert verdict(plain) == (PLAUSIBLE, "left and right plausible in 2 of 2")

    def yellow(sheet: np.ndarray) -> int:
        return int((np.abs(sheet.astype(int) - (255, 205, 70)) < 12).all(-1).sum())

    around_two_tiles = 2 * 2 * (TILE_WIDTH + TILE_HEIGHT) * 3
    assert yellow(draw_sheet(inspection)) > around_two_tiles > 10 * yellow(draw_sheet(plain))


def test_one_exchanged_sample_is_told_and_suspects_the_detector() -> None:
    frame = Frame(0, 0.0, np.zeros((8, 8, 3), np.uint8))
    pose = Pose2D(np.full((17, 2), 4.0, np.float32), np.ones(17, np.float32), H36M_17.name)
    samples = [Sample(frame, pose, PLAUSIBLE)] * 5 + [Sample(frame, pose, EXCHANGED), Sample(frame, None, UNCLEAR)]
    inspection = Inspection(Path("x"), "d", "c", tuple(samples), np.ones(17))
    assert verdict(inspection)[1] == "LEFT AND RIGHT LOOK EXCHANGED in 1 of 6: suspect the detector, in those frames"
    assert verdict(replace(inspection, samples=tuple(samples[-1:])))[1] == "nobody found"


def test_names_and_colours_are_on_their_sides() -> None:
    """A person facing the camera has the left on the right of the picture."""
    truth = ActorSource(ActorScene(motion="squat")).truth(0)
    image = np.zeros((720, 720, 3), np.uint8)
    pose = Pose2D(truth.keypoints.astype(np.float32), np.ones(17, np.float32), H36M_17.name)
    tile = draw_tile(Sample(Frame(0, 0.0, image), pose, PLAUSIBLE)).astype(int)

    def centre(colour: tuple[int, int, int]) -> float:
        return float(np.argwhere((np.abs(tile - colour) < 12).all(-1))[:, 1].mean())

    assert centre(LEFT) > tile.shape[1] / 2 + 40
    assert centre(RIGHT) < tile.shape[1] / 2 - 40


@pytest.mark.parametrize("keypoints", [np.full((17, 2), np.nan), np.full((17, 2), 1e9), np.full((17, 2), 5.0)])
@pytest.mark.parametrize("shape", [(1, 1), (2000, 16), (48, 1600)])
def test_odd_poses_and_pictures_are_drawn(keypoints: np.ndarray, shape: tuple[int, int]) -> None:
    pose = Pose2D(keypoints.astype(np.float32), np.ones(17, np.float32), H36M_17.name)
    sample = Sample(Frame(0, 0.0, np.zeros((*shape, 3), np.uint8)), pose, UNCLEAR)
    inspection = Inspection(Path("x"), "d", "c", (sample, replace(sample, pose=None)), np.full(17, np.nan))
    assert draw_sheet(inspection).ndim == 3


def test_nobody(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with VideoWriter(tmp_path / "room.mp4", 128, 96, 10.0) as out:
        for index in range(5):
            out.write(np.full((96, 128, 3), 90, np.uint8), index / 10)
    assert main(["inspect", str(tmp_path / "room.mp4"), "-o", str(tmp_path / "a.png")]) == 1
    assert "No person was found in 5 frames" in capsys.readouterr().err
    assert (tmp_path / "a.png").exists()


def test_what_cannot_work(actor_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("not a video")
    film_name = str(actor_film)
    for argv, code in (
        ([str(tmp_path / "file")], 1),
        ([str(tmp_path / "missing.mp4")], 1),
        ([film_name, "-o", str(tmp_path / "file" / "a.png"), "--frames", "1"], 1),
        ([film_name, "-o", "x" * 5000 + ".png"], 1),
        ([film_name, "--frames", "0"], 2),
        ([film_name, "-o", film_name], 2),
    ):
        before = actor_film.read_bytes()
        assert main(["inspect", *argv]) == code
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert actor_film.read_bytes() == before
