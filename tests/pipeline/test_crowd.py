"""Several rendered actors through the whole path: detector double, tracker, buckets, lifter, file, picture."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.lifters.catalogue import entry
from posepipe.pipeline.people import Lifting
from posepipe.pipeline.recording import write_result
from posepipe.pipeline.render.layout import Caption, compose, picture_size
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.render.viewpoint import ViewSettings
from posepipe.pipeline.runner import process
from posepipe.pipeline.sink.h5 import STATUS_NO_PERSON, STATUS_OK, H5Writer, read_h5
from posepipe.pipeline.sink.rows import on_every_frame, people_per_frame
from posepipe.pipeline.source.actor import ActorScene
from posepipe.pipeline.source.actor_crowd import CrowdSource, Member
from posepipe.pipeline.stats import StageTimes
from posepipe.skeleton import H36M_17
from posepipe.trt_build.runners.buckets import in_buckets
from posepipe.trt_build.runners.ort import OrtRunner
from posepipe.types import Frame, Pose2D

pytest.importorskip("norfair")

FPS, H = 20.0, 5
PICTURE = np.zeros((360, 640, 3), np.uint8)
STRIDE = {5: 2, 9: 5}  # who starts where, so that nobody is hidden for longer than identities last
HIDDEN = 0.6  # share of the joints behind nearer people from which a detector sees nobody


class Double:
    """Sees exact landmarks with noise, not those behind nearer people, and everybody in a new order in every frame.

    who: the members of every frame, in the order of detection."""

    def __init__(self, source: CrowdSource, noise: float = 0.01) -> None:
        self.source, self.noise, self.who = source, noise, {}

    def detect(self, frame: Frame) -> tuple[Pose2D, ...]:
        rng = np.random.default_rng(frame.index)
        truths = {i: t for i, t in enumerate(self.source.truths(frame.index)) if t is not None}
        seen = {}
        for i, truth in truths.items():
            covered = np.zeros(33, bool)
            for other in truths.values():
                if other.joints_camera[0, 2] < truth.joints_camera[0, 2] - 0.05:
                    low, high = other.blazepose.min(0), other.blazepose.max(0)
                    covered |= ((truth.blazepose > low) & (truth.blazepose < high)).all(-1)
            if covered.mean() < HIDDEN:
                size = np.ptp(truth.blazepose[:, 1])
                points = truth.blazepose + rng.normal(0, self.noise * size, (33, 2))
                seen[i] = Pose2D(
                    points.astype(np.float32), np.where(covered, 0.2, 0.95).astype(np.float32), "blazepose33"
                )
        order = [int(i) for i in rng.permutation(list(seen))] if seen else []
        self.who[frame.index] = order
        return tuple(seen[i] for i in order)


class InBuckets:
    """An ONNX runner that is launched as engines are, in buckets of 1, 2, 4, 8; launches: their sizes."""

    def __init__(self, runner: OrtRunner) -> None:
        self.runner, self.contract, self.launches = runner, runner.contract, []
        self.ready = {H: {size: _Bucket(self, size) for size in (1, 2, 4, 8)}}

    def sample(self, keypoints, confidence, keys, hypotheses):
        return in_buckets(self.ready, keypoints, confidence, keys, hypotheses)


class _Bucket:
    def __init__(self, owner: InBuckets, size: int) -> None:
        self.owner, self.size = owner, size

    def run(self, keypoints, confidence, keys):
        assert len(keypoints) == len(confidence) == len(keys) == self.size
        self.owner.launches.append(self.size)
        return self.owner.runner.sample(keypoints, confidence, keys, H)


@pytest.fixture(scope="module")
def runner():
    with OrtRunner(Path(entry("mdn").graph_path)) as opened:
        yield opened


def scene(seconds: float, pitch: float = 8.0) -> ActorScene:
    return ActorScene("walk", seconds, FPS, 640, 360, 60, 0, pitch, distance=7.0)


def crossing(count: int) -> tuple[Member, ...]:
    """Every other one walks left, the others right, each on a line of its own depth."""
    motions = ("turn", "wave", "crossed")

    def line(i: int):
        start, speed = -2.4 + 4.8 * (i * STRIDE.get(count, 1) % count) / max(count - 1, 1), (1.1 if i % 2 else -0.9)
        if start * speed > 0:
            speed = -speed
        return lambda t: (start + speed * t, -2.0 + 0.55 * i)

    return tuple(Member(line(i), motions[i % 3], i) for i in range(count))


def follow(source: CrowdSource, runner, **more):
    """(result, members in the order of its tracks) of every frame."""
    detector = Double(source)
    how = Lifting(runner, BLAZEPOSE33_H36M17, source.intrinsics, "crowd", 0, H, several=True, **more)
    frames = (Frame(i, i / FPS, PICTURE) for i in range(len(source)))
    with closing(process(frames, detector, how, StageTimes())) as results:
        return [(r, detector.who[r.frame.index]) for r in results]


def ids_of(results) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for result, who in results:
        assert [t.pose3d is not None for t in result.tracks] == [True] * len(who)
        for track, member in zip(result.tracks, who, strict=True):
            found.setdefault(member, []).append(track.id)
    return found


@pytest.mark.parametrize("count", [2, 5, 9])
def test_everybody_keeps_an_id_of_their_own_through_crossings(runner, count):
    source = CrowdSource(scene(4), crossing(count))
    results = follow(source, runner)
    crossed = np.stack([[t.joints_camera[0, 0] for t in source.truths(i)] for i in (0, len(source) - 1)])
    assert (crossed[0].argsort() != crossed[1].argsort()).any(), "somebody passed somebody"
    ids = ids_of(results)
    assert len(ids) == count
    assert all(len(set(each)) == 1 for each in ids.values())
    assert len({each[0] for each in ids.values()}) == count
    missed = sum(count - len(who) for _, who in results)
    assert missed > 0 or count == 2, "some were hidden for a while"


def test_nine_people_are_split_into_buckets_and_lifted_as_if_each_were_alone(runner):
    source = CrowdSource(scene(0.5), crossing(9))
    bucketed = InBuckets(runner)
    together, plain = follow(source, bucketed), follow(source, runner)
    sizes = [len(who) for _, who in together]
    assert max(sizes) == 9
    expected = {9: [8, 1], 8: [8], 7: [8], 6: [8], 5: [8], 4: [4], 3: [4], 2: [2], 1: [1]}
    assert bucketed.launches == [b for n in sizes for b in expected[n]]
    for (a, who), (b, _) in zip(together, plain, strict=True):
        for ours, theirs, member in zip(a.tracks, b.tracks, who, strict=True):
            np.testing.assert_allclose(ours.hypotheses.joints, theirs.hypotheses.joints, atol=1e-5)
            alone = follow_one(runner, source, ours, a.frame)
            np.testing.assert_allclose(ours.hypotheses.joints, alone, atol=1e-5, err_msg=str(member))


def follow_one(runner, source, track, frame):
    """The hypotheses of a person who is lifted alone, under the same id."""
    from posepipe.pipeline.lift import lift
    from posepipe.types import Track

    how = Lifting(runner, BLAZEPOSE33_H36M17, source.intrinsics, "crowd", 0, H)
    lone = Track(track.id, track.pose2d, track.detected)
    return lift(runner, [lone], source.intrinsics, lambda i: how.key(frame, i), H)[0].hypotheses.joints


def test_each_stands_where_they_stand(runner):
    """Median error of the place, of people of average size: 8 % of the distance are allowed with a known camera."""
    source = CrowdSource(scene(2), crossing(4))
    off: dict[int, list[float]] = {}
    for result, who in follow(source, runner):
        truths = source.truths(result.frame.index)
        for track, member in zip(result.tracks, who, strict=True):
            hip = truths[member].joints_camera[0]
            off.setdefault(member, []).append(np.linalg.norm(track.pose3d.root - hip) / np.linalg.norm(hip))
    assert max(np.median(each) for each in off.values()) < 0.08


@pytest.mark.parametrize(("gone", "same"), [(0.4, True), (0.65, False)])
def test_leaving_and_coming_back_beside_others(runner, gone, same):
    """0.4 s away: the same person, further on; longer than half a second: somebody new."""
    leaver = Member(lambda t: None if 1.0 <= t < 1.0 + gone else (-1.5 + 0.8 * t, 0.4), "turn")
    source = CrowdSource(scene(2.5), (leaver, Member(lambda t: (1.2, -0.5)), Member(lambda t: (0.3, -1.5), "crossed")))
    results = follow(source, runner)
    ids = ids_of(results)
    assert [len(set(ids[i])) for i in range(3)] == [1 if same else 2, 1, 1]
    assert len(results[0][0].tracks) == 3
    for result, who in results:
        assert len(result.shown) == len(who), "who is away is not shown where they were"
    back = next(r for r, who in results if r.frame.pts >= 1.0 + gone and 0 in who)
    track = back.tracks[results[back.frame.index][1].index(0)]
    ahead = np.linalg.norm(track.smoothed3d.root[:2] - track.pose3d.root[:2])
    assert ahead < 0.1, "the smoothed place has not stayed where the person left"


def test_nobody_is_explicit_in_the_file_and_in_the_picture(runner, tmp_path):
    """Nobody, one, two, one, nobody: rows, counts and flags of every frame; the picture shows no pose of before."""

    def inside(start, end, x):
        return lambda t: (x, 0.0) if start <= t < end else None

    source = CrowdSource(scene(2.5), (Member(inside(0.5, 2.0, -0.8)), Member(inside(1.0, 1.5, 0.8))))
    header = dict.fromkeys(
        ("posepipe_version", "source", "source_sha256", "detector", "conversion", "lifter", "backend"), "x"
    )
    header |= {"width": 640, "height": 360, "fps": FPS, "skeleton": "h36m17", "joint_names": H36M_17.joints}
    header |= {"checkpoint_sha256": "x", "hypotheses": H, "steps": 0, "seed": 0, "camera": source.intrinsics.to_json()}
    columns = ("pose_smoothed", "root_smoothed")
    view, ground, pictures = ViewSettings(), GroundState(), []
    with H5Writer(tmp_path / "a.h5", header | {"smoothed": columns}) as out:
        for result, _ in follow(source, runner):
            write_result(out, result)
            ground = update_ground(ground, result.shown, view)
            pictures.append(compose(PICTURE, result.shown, Caption(FPS, "mdn", H, "double", "x"), view, ground))
    recording = read_h5(tmp_path / "a.h5")
    expected = [0] * 10 + [1] * 10 + [2] * 10 + [1] * 10 + [0] * 10
    np.testing.assert_array_equal(people_per_frame(recording), expected)
    np.testing.assert_array_equal(recording.status == STATUS_NO_PERSON, np.array(expected) == 0)
    np.testing.assert_array_equal(recording.status == STATUS_OK, np.array(expected) > 0)
    for track, (start, end) in zip((0, 1), ((10, 40), (20, 30)), strict=True):
        pose, valid = on_every_frame(recording, track, "pose")
        assert pose.shape == (50, 17, 3)
        np.testing.assert_array_equal(np.flatnonzero(valid), np.arange(start, end))
        assert np.isnan(pose[~valid]).all()
        assert np.isfinite(pose[valid]).all()
        np.testing.assert_array_equal(pose[valid], recording.tracks[track].pose)
    width = picture_size(640, 360, view)[0]
    blank = [p[60:-60, width // 2 + 40 :] for p in pictures]
    assert (blank[0] == blank[5]).all()
    assert (blank[44] != blank[39]).any(), "the person has gone from the 3D view in the frame in which they were gone"


def test_a_picture_of_nine_shows_nine():
    """Every actor's shirt or trousers are where the truth has their hip and chest, unless somebody stands in front."""
    source = CrowdSource(scene(1), crossing(9))
    frame, truths = source.render(7)
    empty = CrowdSource(scene(1), ()).render(7)[0].image.astype(int)
    painted = np.abs(frame.image.astype(int) - empty).sum(-1) > 30
    for truth in truths:
        for name in ("hip", "thorax"):
            x, y = truth.keypoints[H36M_17.index(name)].astype(int)
            if 0 <= x < 640 and 0 <= y < 360:
                assert painted[y, x]
    assert painted.mean() < 0.4
