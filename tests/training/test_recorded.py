"""Human3.6M's own cameras: found again from exact keypoints, and `screen` space samples from both of its layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.__main__ import main
from posepipe.errors import InputError
from posepipe.skeleton import H36M_17, MPII_16
from posepipe.training.data.layouts import H36M_32_TO_17, Z_UP_TO_Y_UP
from posepipe.training.data.motion import RecordedCamera
from posepipe.training.data.recorded import recorded_blocks, recorded_rows
from posepipe.training.data.resection import project_recorded, resect
from posepipe.training.virtual_camera import world_to_camera


def camera(yaw: float, pitch: float, roll: float, distance: float) -> RecordedCamera:
    turn = world_to_camera(*(np.array([angle]) for angle in (yaw, pitch, roll)))[0]
    centre = np.array([0.0, 1.0, 0.0]) - turn.T @ np.array([0.3, -0.2, distance])
    lens = np.array([-0.2, 0.24, -0.002]), np.array([-0.0009, -0.0016])
    return RecordedCamera("S1", "54138969", turn, centre, np.array([1145.0, 1143]), np.array([512.0, 515]), *lens)


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.floats(-0.6, 0.3), st.floats(-0.1, 0.1), st.floats(4, 7))
def test_a_camera_is_found_from_what_it_saw(people, yaw, pitch, roll, distance):  # type: ignore[no-untyped-def]
    true = camera(yaw, pitch, roll, distance)
    world = people(60, 1).reshape(-1, 3).astype(float)
    pixels = project_recorded((world - true.centre) @ true.rotation.T, true)
    found = resect("S1", "54138969", world, pixels.astype(np.float32))
    assert found is not None
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-5)
    np.testing.assert_allclose(found.centre, true.centre, atol=1e-4)
    np.testing.assert_allclose(found.focal, true.focal, atol=0.1)


def test_pixels_that_are_no_projections_give_no_camera(people) -> None:  # type: ignore[no-untyped-def]
    world = people(60, 1).reshape(-1, 3)
    assert resect("S1", "c", world, np.full((len(world), 2), 100.0)) is None
    assert resect("S1", "c", world, np.random.default_rng(0).uniform(0, 1000, (len(world), 2))) is None
    assert resect("S1", "c", world[:5], np.zeros((5, 2))) is None
    assert resect("S1", "c", world, np.full((len(world), 2), np.nan)) is None
    assert resect("S1", "c", np.zeros((50, 3)), np.random.default_rng(0).uniform(0, 1000, (50, 2))) is None


FRAMES = {"S1": 90, "S9": 40}
ACTIONS = {"S1": "Walking 1", "S9": "Sitting"}
People = Callable[..., np.ndarray]
ROOT = Path(__file__).parents[2]


def seen_by(people: People, subject: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one subject: the joints in Human3.6M's world (T, 32, 3) m, z up, and before the camera (T, 17, 3) m, and their
    pixels (T, 17, 2)."""
    world = people(FRAMES[subject], int(subject[1:]))
    true = camera(0.4, -0.1, 0.02, 5.0)
    before = (world.astype(float) - true.centre) @ true.rotation.T
    there = np.full((len(world), 32, 3), 9.0)
    there[:, H36M_32_TO_17] = world @ Z_UP_TO_Y_UP  # the inverse of turning by it
    return there, before, project_recorded(before, true)


def write_npz(folder: Path, people: People) -> None:
    positions, exact, detected = {}, {}, {}
    for subject, action in ACTIONS.items():
        there, _, pixels = seen_by(people, subject)
        positions[subject] = {action: there.astype(np.float32)}
        exact[subject] = {action: [pixels.astype(np.float32)]}
        detected[subject] = {action: [(pixels + 3).astype(np.float32)]}
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=positions)  # type: ignore[arg-type]
    np.savez_compressed(folder / "data_2d_h36m_gt.npz", positions_2d=exact)  # type: ignore[arg-type]
    path = folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    np.savez_compressed(path, positions_2d=detected)  # type: ignore[arg-type]


def write_tree(folder: Path, people: People) -> None:
    """Martinez' h36m.zip: millimetres, a MATLAB camera, stacked-hourglass keypoints in MPII's order."""
    true = camera(0.4, -0.1, 0.02, 5.0)
    names = {"pelvis": "hip", "upper_neck": "neck", "head_top": "head"}
    order = [H36M_17.index(names.get(joint, joint)) for joint in MPII_16.joints]
    with h5py.File(folder / "cameras.h5", "w") as file:
        for subject in (1, 9):
            group = file.create_group(f"subject{subject}/camera1")
            group["R"] = (true.rotation @ Z_UP_TO_Y_UP).T
            group["T"] = (Z_UP_TO_Y_UP.T @ true.centre * 1000)[:, None]
            for key, values in (("f", true.focal), ("c", true.principal), ("k", true.radial), ("p", true.tangential)):
                group[key] = values[:, None]
            group["Name"] = np.array([[ord(letter)] for letter in "54138969"], np.uint16)
    for subject, action in ACTIONS.items():
        there, _, pixels = seen_by(people, subject)
        (folder / subject / "MyPoses" / "3D_positions").mkdir(parents=True)
        (folder / subject / "StackedHourglass").mkdir()
        with h5py.File(folder / subject / "MyPoses" / "3D_positions" / f"{action}.h5", "w") as file:
            file["3D_positions"] = (there * 1000).reshape(len(there), 96).T
        with h5py.File(folder / subject / "StackedHourglass" / f"{action.replace(' ', '_')}.54138969.h5", "w") as file:
            file["poses"] = pixels[:, order] + 3


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, people: People) -> dict[str, Path]:
    """Motion files of both layouts by kind."""
    made = {}
    for kind, write in (("h36m-npz", write_npz), ("h36m-h5", write_tree)):
        folder = tmp_path_factory.mktemp(kind)
        write(folder, people)
        made[kind] = folder / "m.h5"
        assert main(["data", "build", "--from", kind, str(folder), "-o", str(made[kind])]) == 0
    return made


@pytest.mark.parametrize("kind", ["h36m-npz", "h36m-h5"])
def test_samples_are_what_the_camera_saw(built: dict[str, Path], people: People, kind: str) -> None:
    _, before, pixels = seen_by(people, "S9")
    for keypoints, shift in (("gt", 0), ("cpn_ft_h36m_dbb" if kind == "h36m-npz" else "stacked_hourglass", 3)):
        screen, confidence, joints = recorded_rows(built[kind], "validation", keypoints, 1000)
        np.testing.assert_allclose(joints, before - before[:, :1], atol=2e-4)
        expected = (pixels + shift) / 1000 * 2 - [1, 1.002]
        seen = np.arange(17) != 7 if keypoints == "stacked_hourglass" else np.full(17, True)  # MPII has no spine
        np.testing.assert_allclose(screen[:, seen], expected[:, seen], atol=2e-4)
        assert (confidence == seen).all()
    assert len(recorded_rows(built[kind], "validation", "gt", 10)[0]) == 10


def test_keypoints_that_are_not_there(built: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no keypoints 'cpn_ft_h36m_dbb'\. It has gt, stacked_hourglass\."):
        recorded_blocks(built["h36m-h5"], "train", "cpn_ft_h36m_dbb")
    bare = tmp_path / "m.h5"
    bare.write_bytes(built["h36m-npz"].read_bytes())
    with h5py.File(bare, "r+") as file:
        del file["cameras"]
    with pytest.raises(InputError, match="no cameras of S1"):
        recorded_blocks(bare, "train", "gt")


@pytest.mark.parametrize(
    ("recipe", "kind", "changed"),
    [
        ("martinez", "h36m-npz", []),
        ("martinez", "h36m-npz", ["keypoints=cpn_ft_h36m_dbb"]),
        ("mdn", "h36m-h5", []),
        ("mdn", "h36m-h5", ["hide=2"]),
        ("htnet", "h36m-npz", ["batch=64", "channels=24", "hidden=32", "gcn_hidden=16", "heads=4"]),
        ("dcgct", "h36m-npz", ["batch=64", "channels=20", "heads=4"]),
    ],
)
def test_published_settings_run(
    built: dict[str, Path], tmp_path: Path, recipe: str, kind: str, changed: list[str]
) -> None:
    torch = pytest.importorskip("torch")
    from posepipe.lifters.build import load

    out = tmp_path / "w.safetensors"
    given = [f"data={built[kind]}", f"out={out}", "epochs=3", "threads=1", *changed]
    given += [] if recipe in ("htnet", "dcgct") else ["width=32"]
    flags = [part for value in given for part in ("--set", value)]
    config = str(ROOT / "configs" / "train" / f"{recipe}_published.toml")
    command = ["train", config, *flags, "--state", str(tmp_path / "s.safetensors"), "--accelerator", "cpu"]
    assert main(command) == 0
    header, sampler = load(out)
    assert (header.space, header.conversion) == ("screen", "h36m17@1")
    assert header.provenance["config"]["steps"] == 3, "90 frames are one batch of 64 per epoch"
    hypotheses = 5 if recipe == "mdn" else 1
    screen, confidence, joints = recorded_rows(built[kind], "validation", "gt", 4)
    noise = torch.zeros(4, hypotheses, *header.noise_shape)
    with torch.no_grad():
        given_poses, _ = sampler(torch.from_numpy(screen), torch.from_numpy(confidence), noise)
    assert given_poses.shape == (4, hypotheses, 17, 3)
    # three steps: Martinez' and the mixture's outputs start at the mean pose, the others' anywhere near the hip
    near = 2.0 if recipe in ("htnet", "dcgct") else 0.6
    assert float((given_poses[:, 0] - torch.from_numpy(joints)).norm(dim=-1).mean()) < near


def test_the_published_weak_supervision_runs(built: dict[str, Path], tmp_path: Path) -> None:
    """2D of a third of a batch, unpaired 3D of the others; an epoch lifts everyone once."""
    pytest.importorskip("torch")
    from posepipe.lifters.build import load

    out = tmp_path / "w.safetensors"
    small = ["width=16", "kcs_width=16", "pose_width=8", "people=20", "critic=20", "batch=60", "epochs=2", "threads=1"]
    flags = [part for value in [f"data={built['h36m-h5']}", f"out={out}", *small] for part in ("--set", value)]
    config = str(ROOT / "configs" / "train" / "wsgan_published.toml")
    command = ["train", config, *flags, "--state", str(tmp_path / "s.safetensors"), "--accelerator", "cpu"]
    assert main(command) == 0
    header, _ = load(out)
    assert (header.space, header.conversion, header.noise_shape) == ("screen", "h36m17@1", (16,))
    assert header.provenance["config"]["steps"] == 2 * (90 // 20)
    assert header.provenance["config"]["energy"] == 0
