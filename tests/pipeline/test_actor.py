"""The rendered actor: its truth against geometry computed another way, its pictures against its truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.camera import project
from posepipe.errors import UsageError
from posepipe.pipeline.source.actor import ActorScene, ActorSource, render_frame
from posepipe.pipeline.source.actor_body import varied_body
from posepipe.pipeline.source.actor_motion import MOTIONS, pose_at
from posepipe.pipeline.source.actor_paint import dress
from posepipe.pipeline.source.actor_raster import Capsule, Paint, draw, empty_buffers
from posepipe.pipeline.source.actor_render import cast
from posepipe.pipeline.source.actor_shapes import shapes
from posepipe.skeleton import BLAZEPOSE_33, H36M_17

J = {name: i for i, name in enumerate(H36M_17.joints)}
GROUND_POINTS = ("l_heel", "r_heel", "l_foot_index", "r_foot_index")


def poses(motion: str, seconds: float = 9.0, fps: float = 20.0, seed: int = 0, body_seed: int = 0) -> list:
    body = varied_body(body_seed)
    return [pose_at(body, motion, i / fps, seed) for i in range(int(seconds * fps))]


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("seed", [0, 3])
def test_bone_lengths_never_change(motion: str, seed: int) -> None:
    track = poses(motion, seed=seed, body_seed=seed)
    joints = np.stack([p.joints for p in track])
    extras = np.stack([[p.extras[n] for n in ("l_heel", "l_foot_index", "r_index", "nose")] for p in track])
    bones = [joints[:, c] - joints[:, p] for p, c in H36M_17.bones]
    bones += [extras[:, 0] - joints[:, J["l_ankle"]], extras[:, 1] - joints[:, J["l_ankle"]]]
    bones += [extras[:, 2] - joints[:, J["r_wrist"]], extras[:, 3] - joints[:, J["neck"]]]
    for bone in bones:
        length = np.linalg.norm(bone, axis=1)
        assert length.min() > 0.03
        assert np.ptp(length) < 1e-6


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_feet_stand_on_the_ground(motion: str, seed: int) -> None:
    feet = np.stack([[p.extras[n] for n in GROUND_POINTS] for p in poses(motion, seed=seed, body_seed=seed)])
    assert feet[..., 1].min() > -0.02
    assert feet[..., 1].min(axis=1).max() < 0.02  # one of them always carries the body


@pytest.mark.parametrize("motion", MOTIONS)
def test_standing_feet_do_not_slide(motion: str) -> None:
    fps = 60.0
    track = poses(motion, seconds=5.0, fps=fps)
    for side in "lr":
        points = np.stack([[p.extras[f"{side}_heel"], p.extras[f"{side}_foot_index"]] for p in track])
        flat = (points[..., 1] < 1e-5).all(axis=1)
        both = flat[1:] & flat[:-1]
        assert both.sum() > 30
        speed = np.linalg.norm(np.diff(points[:, 1], axis=0), axis=1)[both] * fps
        assert speed.max() < 0.05


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("seed", [0, 4])
def test_knees_and_elbows_bend_the_human_way(motion: str, seed: int) -> None:
    for pose in poses(motion, seed=seed, body_seed=seed):
        left = pose.rotations["pelvis"][:, 0]
        for side in "lr":
            hip, knee, ankle = (pose.joint(f"{side}_{n}") for n in ("hip", "knee", "ankle"))
            # Seen from the actor's left, the shin turns backwards relative to the thigh, never forwards.
            assert float(np.cross(knee - hip, ankle - knee) @ left) > 0
            shoulder, elbow, wrist = (pose.joint(f"{side}_{n}") for n in ("shoulder", "elbow", "wrist"))
            upper, lower = elbow - shoulder, wrist - elbow
            angle = math.degrees(
                math.acos(np.clip(upper @ lower / np.linalg.norm(upper) / np.linalg.norm(lower), -1, 1))
            )
            assert 2.0 < angle < 155.0
            # The forearm folds towards the front of the chest, up or inwards, not out behind the upper arm.
            chest = pose.rotations["chest"]
            fold = chest.T @ (lower - upper * float(upper @ lower) / float(upper @ upper))
            assert max(fold[2], fold[1], -fold[0] if side == "l" else fold[0]) > 0


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_is_smooth_and_in_human_range(motion: str) -> None:
    joints = np.stack([p.joints for p in poses(motion, fps=60.0)])
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=2) * 60.0
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=0), axis=2) * 3600.0
    assert speed.max() < 5.0
    assert acceleration.max() < 60.0
    assert np.linalg.norm(np.ptp(joints, axis=0), axis=1).max() > 0.4  # something moves


def test_left_is_left() -> None:
    """Heading 0 faces +z: the left limbs are at +x, toes and nose in front."""
    pose = pose_at(varied_body(0), "squat", 0.1)
    for limb in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear", "eye"):
        assert pose.joint(f"l_{limb}")[0] > pose.joint(f"r_{limb}")[0] + 0.05
    assert pose.extras["nose"][2] > pose.joint("neck")[2] + 0.08
    assert pose.extras["l_foot_index"][2] > pose.extras["l_heel"][2] + 0.15


@settings(max_examples=25, deadline=None)
@given(
    motion=st.sampled_from(MOTIONS),
    yaw=st.floats(-180, 180),
    pitch=st.floats(-10, 40),
    fov=st.floats(35, 90),
    index=st.integers(0, 89),
)
def test_truth_projects_to_its_own_pixels(motion: str, yaw: float, pitch: float, fov: float, index: int) -> None:
    scene = ActorScene(motion=motion, seconds=3, yaw_deg=yaw, pitch_deg=pitch, fov_deg=fov, width=160, height=120)
    source = ActorSource(scene)
    truth = source.truth(index)
    np.testing.assert_allclose(truth.keypoints, project(truth.joints_camera, scene.intrinsics), atol=1e-9)
    # The camera frame is a rigid motion of the world: all distances agree, and it does not mirror.
    centred = [p - p[0] for p in (truth.joints_world, truth.joints_camera)]
    np.testing.assert_allclose(centred[0] @ centred[0].T, centred[1] @ centred[1].T, atol=1e-9)
    assert np.linalg.det(source.view.rotation) == pytest.approx(1.0)
    # The whole motion stays in the picture, and high things are high up in it.
    assert (truth.keypoints > 0).all()
    assert (truth.keypoints < [scene.width, scene.height]).all()
    assert truth.keypoints[J["head"], 1] < truth.keypoints[J["r_ankle"], 1]
    shared = [n for n in BLAZEPOSE_33.joints if n in J]
    np.testing.assert_allclose(
        truth.blazepose[[BLAZEPOSE_33.index(n) for n in shared]], truth.keypoints[[J[n] for n in shared]], atol=1e-9
    )


@settings(max_examples=40, deadline=None)
@given(
    ends=st.lists(st.floats(-0.35, 0.35), min_size=6, max_size=6),
    radii=st.tuples(st.floats(0.03, 0.12), st.floats(0.03, 0.12)),
    flat=st.floats(0.5, 1.0),
)
def test_capsule_depth_is_the_union_of_its_spheres(ends: list, radii: tuple, flat: float) -> None:
    """The closed form against brute force: 400 spheres along the axis, each cast on its own."""
    camera = ActorScene(width=64, height=64).intrinsics
    a, b = np.array(ends[:3]) + [0, 0, 1.5], np.array(ends[3:]) + [0, 0, 1.5]
    out = empty_buffers(0, 0, 64, 64)
    draw(Capsule(a, b, *radii, Paint(), np.eye(3), (1.0, 1.0, flat)), camera, out)
    grid = (np.arange(64) + 0.5 - 32) / camera.fx
    rays = np.stack([*np.meshgrid(grid, grid), np.ones((64, 64))], -1) * [1, 1, 1 / flat]
    depth = np.full((64, 64), np.inf)
    for s in np.linspace(0, 1, 400):
        centre, radius = ((1 - s) * a + s * b) * [1, 1, 1 / flat], (1 - s) * radii[0] + s * radii[1]
        q, m = (rays**2).sum(-1), rays @ centre
        h = m * m - q * (centre @ centre - radius**2)
        depth = np.minimum(depth, np.where(h > 0, (m - np.sqrt(np.maximum(h, 0))) / q, np.inf))
    both = np.isfinite(depth) & np.isfinite(out.depth)
    assert (np.isfinite(depth) ^ np.isfinite(out.depth)).sum() <= 6  # grazing rays
    assert both.sum() > 3
    assert np.quantile(np.abs(depth[both] - out.depth[both]), 0.99) < 5e-3


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("yaw", [0.0, 70.0, 180.0])
def test_picture_covers_the_joints(motion: str, yaw: float) -> None:
    """Every joint lies inside the drawn body: its pixel is covered, by a surface nearer than the joint itself."""
    scene = ActorScene(motion=motion, seconds=4, width=360, height=360, yaw_deg=yaw, pitch_deg=8, body=varied_body(2))
    source = ActorSource(scene)
    for index in (5, 47, 100):
        pose, truth = source.pose(index), source.truth(index)
        buffers = cast(shapes(scene.body, pose, dress(scene.body.colours)), source.view)
        assert buffers is not None
        u, v = np.floor(truth.keypoints).astype(int).T - np.array([[buffers.x0], [buffers.y0]])
        assert (buffers.depth[v, u] < truth.joints_camera[:, 2] + 0.01).all()
        image = source.render(index)[0].image
        bare = source.render(110)[0].image if motion == "walk" else None
        changed = np.abs(image.astype(int) - source.background.astype(int)).max(axis=2)
        x, y = np.floor(truth.keypoints).astype(int).T
        assert (changed[y, x] > 12).mean() > 0.9
        assert image.shape == (360, 360, 3)
        assert image.dtype == np.uint8
        assert bare is None or not np.array_equal(bare, image)


def test_wrist_hides_the_trunk_when_the_arms_cross() -> None:
    """In 'crossed' there is a frame with a wrist in front of the trunk, and it is what one sees."""
    scene = ActorScene(motion="crossed", seconds=2, width=360, height=360)
    source = ActorSource(scene)
    hiding = 0
    for index in range(10, 40):
        pose, truth = source.pose(index), source.truth(index)
        parts = shapes(scene.body, pose, dress(scene.body.colours))
        trunk = cast([p for p in parts if p.paint.texture is not None and p.paint.kind == "plane"], source.view)
        whole = cast(parts, source.view)
        assert trunk is not None
        assert whole is not None
        for side in "lr":
            u, v = np.floor(truth.keypoints[J[f"{side}_wrist"]]).astype(int)
            inside = 0 <= v - trunk.y0 < trunk.depth.shape[0] and 0 <= u - trunk.x0 < trunk.depth.shape[1]
            if not inside or not np.isfinite(trunk.depth[v - trunk.y0, u - trunk.x0]):
                continue
            seen = whole.depth[v - whole.y0, u - whole.x0]
            if truth.joints_camera[J[f"{side}_wrist"], 2] < trunk.depth[v - trunk.y0, u - trunk.x0] - 0.03:
                assert seen < trunk.depth[v - trunk.y0, u - trunk.x0]
                hiding += 1
    assert hiding >= 3
    crossing = [source.truth(i).keypoints for i in range(10, 40)]
    assert any(k[J["l_wrist"], 0] < k[J["r_wrist"], 0] for k in crossing)


def test_same_scene_and_index_give_the_same_bytes() -> None:
    scene = ActorScene(motion="wave", seconds=2, width=240, height=320, seed=5, body=varied_body(3))
    first = [(frame.image.tobytes(), frame.pts) for frame, _ in ActorSource(scene)]
    assert len(first) == scene.frames == 60
    for index in (59, 0, 31):
        frame, truth = render_frame(scene, index)
        assert frame.index == index
        assert (frame.image.tobytes(), frame.pts) == first[index]
        np.testing.assert_array_equal(truth.joints_world, ActorSource(scene).truth(index).joints_world)
    assert len({image for image, _ in first}) == 60
    other = ActorScene(motion="wave", seconds=2, width=240, height=320, seed=6, body=varied_body(3))
    assert render_frame(other, 0)[0].image.tobytes() != first[0][0]


def test_bad_scenes_say_what_to_do() -> None:
    for bad in (
        {"motion": "fly"},
        {"seconds": 0.0},
        {"fps": -1.0},
        {"width": 10},
        {"fov_deg": 200.0},
        {"pitch_deg": -60.0},
    ):
        with pytest.raises(UsageError) as caught:
            ActorScene(**bad)
        assert "\n" not in str(caught.value)
    with pytest.raises(IndexError):
        ActorSource(ActorScene(seconds=1)).render(30)
