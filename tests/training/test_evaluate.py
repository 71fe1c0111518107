"""`posepipe evaluate`: lifters whose every number is known beforehand, and the verb on a small motion file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError, OutputError, UsageError
from posepipe.lifters.catalogue import entry
from posepipe.lifters.space import from_person
from posepipe.noise import NoiseKey, normal
from posepipe.training.data.motion import Clip, write_motion
from posepipe.training.evaluate_cli import sampler
from posepipe.training.evaluation import measure
from posepipe.training.evaluation.measure import Report, evaluate
from posepipe.training.evaluation.plots import BODY, write_plots
from posepipe.training.evaluation.tables import markdown
from posepipe.training.evaluation.views import Views, choose_clips, draw_views, film_clips

GRAPH = entry("mdn").graph_path

FIGURE = np.array(
    [
        *((0, 1, 0), (-0.1, 1, 0), (-0.1, 0.55, 0.03), (-0.1, 0.1, 0), (0.1, 1, 0), (0.1, 0.55, 0.03), (0.1, 0.1, 0)),
        *((0, 1.2, 0), (0, 1.45, 0), (0, 1.55, 0.03), (0, 1.7, 0), (0.2, 1.45, 0), (0.45, 1.4, 0), (0.65, 1.3, 0.1)),
        *((-0.2, 1.45, 0), (-0.45, 1.4, 0), (-0.65, 1.3, 0.1)),
    ],
    np.float32,
)


def clip(name: str, subject: str, split: str, action: str, seed: int, frames: int = 40) -> Clip:
    """A stiff figure that walks along x and wobbles a little."""
    rng = np.random.default_rng(seed)
    sway = 0.02 * np.sin(np.arange(frames)[:, None, None] / 5 + rng.uniform(0, 6, (1, 17, 3)))
    way = np.linspace(0, 1, frames)[:, None, None] * [1.0, 0, 0.5]
    return Clip(name, subject, (FIGURE + sway + way).astype(np.float32), action, "test", 30.0, split)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("motion") / "small.h5"
    clips = [clip("a_1", "a", "train", "walk", 1), clip("b_1", "b", "validation", "walk", 2)]
    write_motion([*clips, clip("b_2", "b", "validation", "wave", 3)], out, "made up")
    return out


@pytest.fixture(scope="module")
def views(data) -> Views:
    return draw_views(choose_clips(data), 300)


def answers(truth: np.ndarray, offsets: np.ndarray):
    """A lifter that knows the truth, and errs by offsets (N or 1, H, 17, 3), all weights alike."""

    def sample(keypoints, confidence, first):
        rows = slice(first, first + len(keypoints))
        joints = truth[rows, None] + np.broadcast_to(offsets, (len(truth), *offsets.shape[1:]))[rows]
        return joints, np.full(joints.shape[:2], -np.log(joints.shape[1]), np.float32)

    return sample


def test_a_known_offset_is_the_error(views):
    offset = np.zeros((1, 1, 17, 3))
    offset[:, :, 3] = [0.03, 0.04, 0.12]  # one joint by 130 mm
    report = evaluate(answers(views.joints, offset), views, 1)
    assert report.errors["p1_agg"] == pytest.approx(130 / 17, abs=0.01)
    assert report.per_joint["p1"]["r_ankle"] == pytest.approx(130, abs=0.01)
    assert report.per_joint["p1"]["l_ankle"] == 0
    assert report.shares["pck_150"] == 1
    assert report.shares["auc"] == pytest.approx((16 * 149 + 19) / (17 * 150), abs=1e-4)
    assert set(report.per_action) == {"walk", "wave"}
    assert sum(of["frames"] for of in report.per_action.values()) == 300
    assert "coverage_50" not in report.shares  # one hypothesis claims no region
    assert not report.by_count


def test_the_aggregate_the_oracles_and_the_number_of_hypotheses(views):
    """Four hypotheses, each off along +-x or +-y by its own length in all joints: the mean is known, as is the best."""
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    offsets = (np.array([0.08, 0.06, 0.04, 0.02])[:, None] * directions)[None, :, None] * np.ones((1, 4, 17, 3))
    report = evaluate(answers(views.joints, offsets), views, 4)
    assert report.errors["p1_p_agg"] == pytest.approx(1000 * np.hypot(0.02, 0.02) / 4, abs=0.02)
    assert report.errors["p1_agg"] < 0.6 * report.errors["p1_p_agg"]  # least distance in all: where the axes cross
    assert report.errors["p1_one"] == pytest.approx(50, abs=0.02)
    assert report.errors["p1_standard_error"] == 0  # the same error in every frame
    assert report.errors["p1_p_best"] == report.errors["p1_j_best"] == pytest.approx(20, abs=0.02)
    assert report.errors["p2_p_best"] == pytest.approx(0, abs=0.02)  # a shift is aligned away
    assert [report.by_count[n]["p1_p_best"] for n in report.by_count] == pytest.approx([80, 60, 20], abs=0.02)
    assert list(report.by_count) == ["1", "2", "4"]
    assert report.by_count["2"]["p1_agg"] == pytest.approx(10, abs=0.02)
    expected = np.mean([np.linalg.norm(a - b) for i, a in enumerate(offsets[0, :, 0]) for b in offsets[0, :i, 0]])
    assert report.errors["diversity"] == pytest.approx(1000 * expected, abs=0.02)
    assert report.body["hypotheses"]["bone_error"] == pytest.approx(0, abs=0.01)


def test_reprojection_finds_the_hypothesis_that_lies_on_the_2d(views):
    """Errors along the line of sight cannot be seen; of two hypotheses off sideways by 1 mm and 90 mm, one can."""
    place = views.joints + np.einsum("nij,nj->ni", views.rotation, views.root)[:, None]
    sight = place / np.linalg.norm(place, axis=-1, keepdims=True)
    aside = np.cross(sight, [0.0, 1.0, 0.0])
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    offsets = np.stack([0.09 * aside, 0.07 * sight + 0.001 * aside, 0.4 * aside], 1)
    report = evaluate(answers(views.joints, offsets), views, 3)
    assert report.errors["p1_j_agg"] == pytest.approx(1000 * np.hypot(0.07, 0.001), abs=0.1)
    assert report.errors["p1_j_best"] == pytest.approx(report.errors["p1_j_agg"], abs=0.1)


@pytest.mark.parametrize(("claimed", "honest"), [(1.0, True), (0.6, False)])
def test_gaussian_samples_of_known_spread_cover_what_they_should(views, claimed, honest):
    rng = np.random.default_rng(0)
    centre = 0.1 * rng.standard_normal((300, 1, 17, 3))
    offsets = centre + claimed * 0.1 * rng.standard_normal((300, 100, 17, 3))
    offsets[:, :, 0] = 0  # the hip is known, and must not be counted
    report = evaluate(answers(views.joints, offsets), views, 100)
    covered = np.array([report.shares[f"coverage_{p}"] for p in (50, 80, 95)])
    if honest:
        np.testing.assert_allclose(covered, [0.5, 0.8, 0.95], atol=0.02)
        np.testing.assert_allclose(list(report.calibration.values()), [float(p) for p in report.calibration], atol=0.03)
        # closed form of CRPS, averaged over a truth from the same Gaussian: sigma / sqrt(pi)
        assert report.errors["crps_z"] == pytest.approx(100 / np.sqrt(np.pi), rel=0.03)
    else:
        assert (covered < [0.3, 0.6, 0.8]).all()


def test_blocks_do_not_change_the_report(views, monkeypatch):
    lifter = answers(views.joints, 0.1 * np.random.default_rng(1).standard_normal((300, 6, 17, 3)))
    whole = evaluate(lifter, views, 6)
    monkeypatch.setattr(measure, "BLOCK_POSES", 6 * 7)
    assert evaluate(lifter, views, 6) == whole


def test_ordered_hypotheses_have_no_curve(views):
    lifter = answers(views.joints, np.zeros((1, 5, 17, 3)))
    assert not evaluate(lifter, views, 5, ordered=True).by_count


@pytest.mark.parametrize("noise", ["none", "detector"])
def test_views_are_those_that_training_validates_on(data, noise):
    pytest.importorskip("torch")
    from posepipe.training.recipes.supply import validation_batches

    expected = getattr(validation_batches(data, 200), {"none": "exact", "detector": "noisy"}[noise])
    found = draw_views(choose_clips(data), 200, noise)
    for name in ("keypoints", "confidence", "joints"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("space", ["person", "screen"])
def test_the_true_pose_at_its_place_lies_on_the_points_seen(data, space):
    found = draw_views(choose_clips(data), 50, space=space)
    placed = from_person(found.joints[:, None], found.rotation)[:, 0] + found.root[:, None]
    np.testing.assert_allclose(placed[..., :2] / placed[..., 2:], found.points, atol=1e-5)


def test_screen_space_is_width_wide(data):
    found = draw_views(choose_clips(data), 200, space="screen")
    ratio = found.keypoints / found.points
    np.testing.assert_allclose(ratio, ratio[:, :1, :1] * np.ones((1, 17, 2)), rtol=1e-5)  # one scale for x and y
    assert np.quantile(np.abs(found.keypoints[..., 0]), 0.8) <= 1


def test_joints_unseen_by_the_detector_have_no_points(data):
    found = draw_views(choose_clips(data), 300, "detector")
    unseen = np.isnan(found.points).any(-1)
    assert 0.01 < unseen.mean() < 0.3
    np.testing.assert_array_equal(found.keypoints[unseen], 0)


def test_a_film_is_one_camera_that_stands_still(data):
    clips = choose_clips(data)
    films = film_clips(clips, most=30)
    assert [len(film) for film in films] == [30, 30]
    for film, original in zip(films, clips, strict=True):
        placed = film.joints @ film.rotation + film.root[:, None]
        centre = original.joints[5:35]
        a, b = (x.reshape(-1, 3).astype(np.float64) - x.reshape(-1, 3).mean(0) for x in (centre, placed))
        u, _, vt = np.linalg.svd(a.T @ b)
        np.testing.assert_allclose(a @ (u @ vt), b, atol=1e-5)  # rigid over the whole film
    stepping = 0.01 * np.arange(30)[:, None, None] * np.ones((1, 17, 3))
    truth = np.concatenate([film.joints for film in films])
    moving = np.concatenate([stepping @ np.swapaxes(film.rotation, 1, 2) for film in films])
    report = evaluate(answers(truth, moving[:, None]), films[0], 1, films)
    assert report.motion["velocity_error"] == pytest.approx(10 * np.sqrt(3), abs=0.02)
    assert report.motion["acceleration"] == pytest.approx(report.motion["acceleration_of_truth"], abs=0.02)


def test_subjects_are_chosen_by_name(data):
    assert {c.subject for c in choose_clips(data, ["a"])} == {"a"}
    assert len(choose_clips(data, ["a", "b"])) == 3
    assert {c.subject for c in choose_clips(data)} == {"b"}
    with pytest.raises(InputError, match="It has a, b"):
        choose_clips(data, ["a", "nobody"])
    with pytest.raises(UsageError, match="too few"):
        draw_views(choose_clips(data), 0)


def test_noise_is_keyed_by_the_frame_not_by_the_call():
    class Echo:
        def sample(self, keypoints, confidence, keys: list[NoiseKey], hypotheses: int):
            noise = np.stack([normal(key, (hypotheses, 17, 3)) for key in keys])
            return noise, np.zeros(noise.shape[:2])

    sample = sampler(Echo(), 2, seed=5)
    keypoints, confidence = np.zeros((600, 17, 2)), np.ones((600, 17))
    whole = sample(keypoints, confidence, 0)[0]
    np.testing.assert_array_equal(sample(keypoints[400:], confidence[400:], 400)[0], whole[400:])
    assert np.abs(whole[0] - whole[500]).min() > 0


def some_report(views: Views) -> Report:
    lifter = answers(views.joints, 0.1 * np.random.default_rng(2).standard_normal((300, 20, 17, 3)))
    return evaluate(lifter, views, 20, film_like(views))


def film_like(views: Views) -> list[Views]:
    return [views[:10]]


def test_markdown_has_every_number_in_tables_of_even_width(views):
    report = some_report(views)
    text = markdown(report, {"lifter": "fake"})
    assert text.startswith("- lifter: fake\n")
    for name in ("p1_agg", "p1_p_agg", "p2_j_best", "p1_j_agg", "crps_z", "energy", "n_mpjpe"):
        assert f"{report.errors[name]:.1f}" in text
    blocks = [b.splitlines() for b in text.split("\n\n") if b.startswith("|")]
    assert len(blocks) == 7
    assert all(len({line.count("|") for line in block}) == 1 for block in blocks)


def test_plots_are_pictures_with_ink(views, tmp_path):
    import cv2

    paths = write_plots(some_report(views), "fake", tmp_path / "plots")
    assert {p.name for p in paths} == {"joints.png", "error_by_hypotheses.png", "calibration.png"}
    for path in paths:
        image = cv2.imread(str(path))
        assert 0.001 < (image < 200).any(-1).mean() < 0.3
    single = evaluate(answers(views.joints, np.zeros((1, 1, 17, 3))), views, 1)
    assert [p.name for p in write_plots(single, "fake", tmp_path / "one")] == ["joints.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="another folder"):
        write_plots(single, "fake", tmp_path / "file")


def test_the_body_has_all_joints():
    from posepipe.skeleton import H36M_17

    assert set(BODY) == set(H36M_17.joints)


def test_the_verb_writes_what_it_prints(data, tmp_path, capsys):
    out, text, plots = tmp_path / "deep" / "r.json", tmp_path / "r.md", tmp_path / "plots"
    argv = ["evaluate", "--lifter", str(GRAPH), "--data", str(data), "--frames", "60", "--hypotheses", "6"]
    assert main([*argv, "--json", str(out), "--markdown", str(text), "--plots", str(plots)]) == 0
    report = json.loads(out.read_text())
    assert (report["frames"], report["hypotheses"]) == (60, 6)
    assert report["about"]["data"] == "small.h5, subjects b"
    assert list(report["by_count"]) == ["1", "2", "5", "6"]
    assert report["errors"]["p1_j_best"] <= report["errors"]["p1_p_best"] <= report["errors"]["p1_one"]
    assert report["motion"]["frames"] == 80
    printed = capsys.readouterr().out
    assert f"{report['errors']['p1_agg']:.1f}" in printed
    assert f"{report['errors']['p1_agg']:.1f}" in text.read_text()
    assert len(os.listdir(plots)) == 3
    assert main([*argv, "--json", str(tmp_path / "again.json")]) == 0
    assert json.loads((tmp_path / "again.json").read_text()) == report
    assert main([*argv, "--noise", "detector", "--subjects", "a", "--json", str(out)]) == 0
    noisy = json.loads(out.read_text())
    assert noisy["motion"] == {}
    assert noisy["about"]["data"] == "small.h5, subjects a"


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--hypotheses", "0"], 2, "0 hypotheses are not possible"),
        (["--subjects", "zz"], 1, "no subject zz"),
        (["--lifter", "mdm"], 2, "Did you mean mdn"),
        (["--lifter", "absent.onnx"], 1, "no sampler graph"),
        (["--data", "absent.h5"], 1, "Cannot read motion"),
        (["--json", "/proc/no/r.json"], 1, "Cannot write"),
    ],
)
def test_bad_input_is_one_sentence(data, capsys, change, code, words):
    argv = ["evaluate", "--lifter", str(GRAPH), "--data", str(data), "--frames", "5", "--hypotheses", "2"]
    assert main([*argv, *change]) == code
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
