"""The fit of a calibration on lifters whose spread is wrong in a known way; and the verb on a small motion file."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from posepipe.__main__ import main
from posepipe.lifters.build import build_sampler, load, save
from posepipe.lifters.calibration import Calibration
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.metrics import coverage as measured_coverage
from posepipe.training import calibration
from posepipe.training.calibration import Fit, attach, check_on_other_clips, fit_calibration, summarise
from posepipe.training.data.motion import Clip, write_motion

LEVELS = (0.5, 0.8, 0.95)


def people(count, hypotheses, spread, tail, seed, size=None):
    """Truth about a middle, uncertain by `size`; hypotheses that claim `spread` times that, with too heavy (tail < 0)
    or too light tails: as the map that is to be found would undo it."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.02, 0.2, (count, 1, 1)) if size is None else size
    middle = rng.normal(0, 0.5, (count, 17, 3))
    truth = middle + size * rng.normal(size=(count, 17, 3)) * rng.gamma(3, 0.4, (count, 17, 1))
    drawn = rng.normal(size=(count, hypotheses, 17, 3)) * rng.gamma(3, 0.4, (count, hypotheses, 17, 1))
    away = np.linalg.norm(drawn, axis=-1, keepdims=True)
    joints = middle[:, None] + np.asarray(spread)[:, None] * size[:, None] * drawn * away**tail
    joints[:, :, 0], truth[:, 0] = 0, 0
    return joints.astype(np.float32), truth.astype(np.float32)


def after(fit: Fit, joints, truth, confidence=None):
    module = Calibration()
    module.scale.copy_(torch.from_numpy(fit.scale))
    module.shape.fill_(fit.shape)
    module.doubt.fill_(fit.doubt)
    module.more.copy_(torch.from_numpy(fit.more))
    module.further.fill_(fit.further)
    if confidence is not None:
        confidence = torch.from_numpy(confidence)
    log_weights = torch.full(joints.shape[:2], -np.log(joints.shape[1]))
    mapped = module(torch.from_numpy(joints), log_weights, confidence).numpy()
    return 100 * measured_coverage(mapped, log_weights.numpy(), truth, LEVELS), mapped


WRONG = np.where(np.arange(17) % 2, 0.4, 1.0) * np.ones(17)
WRONG[[4, 5, 6, 14, 15, 16]] = WRONG[[1, 2, 3, 11, 12, 13]]  # left and right alike


@pytest.mark.parametrize(("spread", "tail"), [(0.4 * np.ones(17), 0.0), (1.4 * np.ones(17), 0.2), (WRONG, -0.25)])
def test_a_wrong_spread_is_put_right_on_people_that_were_not_fitted(spread, tail):
    joints, truth = people(700, 50, spread, tail, 1)
    fit = fit_calibration([summarise("a", "gt_2d", joints, truth)])
    for hypotheses in (50, 120, 20):
        fresh = people(600, hypotheses, spread, tail, 2)
        before = 100 * measured_coverage(fresh[0], np.full(fresh[0].shape[:2], -np.log(hypotheses)), fresh[1], LEVELS)
        found, mapped = after(fit, *fresh)
        assert np.abs(found - [50, 80, 95]).max() < 3  # the promise
        assert np.abs(before - [50, 80, 95]).max() > 8
    std = np.sqrt(((mapped - mapped.mean(1, keepdims=True)) ** 2).sum(-1).mean((0, 1)))[1:]
    miss = np.sqrt(((fresh[1] - mapped.mean(1)) ** 2).sum(-1).mean(0))[1:]
    np.testing.assert_allclose(std / miss, 1, atol=0.25)  # and so is the deviation that a user is told, joint by joint


def trust(count, seed):
    """Confidences as detectors give them: every joint's own, the person's mean between 0.55 and 0.95."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.uniform(0.6, 0.9, (count, 1)) + rng.uniform(-0.1, 0.1, (count, 17)), 0, 1).astype(np.float32)


def test_a_spread_that_is_wrong_in_opposite_ways_with_and_without_noise_is_put_right_for_both():
    """What no single factor can do; the regimes are told apart by confidence alone, whatever a kind is called."""
    sure, unsure = (people(700, 50, spread * np.ones(17), tail, 1) for spread, tail in ((1.5, 0.1), (0.5, -0.2)))
    certain = np.ones((700, 17), np.float32)
    parts = [summarise("a", "gt_2d", *sure, certain), summarise("a", "detector_noise_2d", *unsure, trust(700, 3))]
    fit = fit_calibration(parts)
    assert 0.05 < fit.doubt < 0.25
    for (spread, tail), confidence in (((1.5, 0.1), certain[:600]), ((0.5, -0.2), trust(600, 4))):
        fresh = people(600, 50, spread * np.ones(17), tail, 2)
        found, _ = after(fit, *fresh, confidence)
        assert np.abs(found - [50, 80, 95]).max() < 3
        predicted = 100 * calibration.coverage(summarise("b", "x", *fresh, confidence), fit).mean(1)
        np.testing.assert_allclose(predicted, found, atol=0.6)
    np.testing.assert_allclose(fit.more[[1, 2, 3, 11, 12, 13]], fit.more[[4, 5, 6, 14, 15, 16]])
    one = fit_calibration([dataclasses.replace(part, doubt=np.zeros(700)) for part in parts])
    assert (one.doubt, one.further, one.more.max()) == (1.0, 0.0, 1.0)  # confidences that say nothing: one for all
    assert np.abs(after(one, *sure)[0] - [50, 80, 95]).max() > 8


def test_what_is_right_is_left_nearly_alone():
    joints, truth = people(1000, 50, np.ones(17), 0.0, 3)
    fit = fit_calibration([summarise("a", "gt_2d", joints, truth)])
    np.testing.assert_allclose(fit.scale, 1, atol=0.08)
    assert abs(fit.shape) <= 0.1


def test_left_and_right_are_alike_and_the_hip_is_1():
    joints, truth = people(300, 30, np.linspace(0.5, 2, 17), 0.0, 4)
    scale = fit_calibration([summarise("a", "gt_2d", joints, truth)]).scale
    assert scale[0] == 1
    np.testing.assert_allclose(scale[[1, 2, 3, 11, 12, 13]], scale[[4, 5, 6, 14, 15, 16]])


def test_coverage_without_the_module_is_that_of_the_module():
    joints, truth = people(700, 50, 0.7 * np.ones(17), 0.1, 5)
    seen = summarise("a", "gt_2d", joints, truth)
    fit = Fit(np.concatenate([[1], np.linspace(0.6, 1.7, 16)]).astype(np.float32), 0.25)
    np.testing.assert_allclose(100 * calibration.coverage(seen, fit).mean(1), after(fit, joints, truth)[0], atol=0.6)


def test_the_check_measures_clips_with_fits_to_others():
    """Two clips whose spreads are wrong in opposite ways: fitted to each other, one covers too much, one too little."""
    parts = [
        summarise(name, "gt_2d", *people(500, 50, spread * np.ones(17), 0.0, seed))
        for seed, (name, spread) in enumerate((("a", 0.5), ("b", 2.0)))
    ]
    found = check_on_other_clips(parts)
    least, most = (np.array(found["clips_gt_2d"][which]) for which in ("least", "most"))
    assert (least[:2] < [25, 50]).all()
    assert (most[:2] > [85, 95]).all()
    halves = {tuple(half["measured"]): half["gt_2d"] for half in found["halves"]}
    assert halves.keys() == {("a",), ("b",)}
    assert halves["b",] == most.tolist()
    assert "left_out" not in check_on_other_clips(parts[:1])


FIGURE = np.array(
    [
        *((0, 1, 0), (-0.1, 1, 0), (-0.1, 0.55, 0.03), (-0.1, 0.1, 0), (0.1, 1, 0), (0.1, 0.55, 0.03), (0.1, 0.1, 0)),
        *((0, 1.2, 0), (0, 1.45, 0), (0, 1.55, 0.03), (0, 1.7, 0), (0.2, 1.45, 0), (0.45, 1.4, 0), (0.65, 1.3, 0.1)),
        *((-0.2, 1.45, 0), (-0.45, 1.4, 0), (-0.65, 1.3, 0.1)),
    ]
)


@pytest.fixture
def data(tmp_path):
    clips = []
    for number in range(3):
        sway = 0.05 * np.sin(np.arange(40)[:, None, None] / 5 + np.random.default_rng(number).uniform(0, 6, (1, 17, 3)))
        clips.append(Clip(f"c_{number}", "c", (FIGURE + sway).astype(np.float32), "walk", "test", 30.0, "validation"))
    write_motion(clips, tmp_path / "small.h5", "made up")
    return tmp_path / "small.h5"


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(1)
    said = Checkpoint(
        "mdn",
        {"width": 16, "blocks": 1, "kernels": 2},
        "person",
        "blazepose33-h36m17@1",
        (49,),
        20,
        provenance={"a": 1},
    )
    sampler = build_sampler(said)
    sampler.output.basis.mul_(0.3)
    save(tmp_path / "small.safetensors", sampler, said)
    return tmp_path / "small.safetensors"


def test_the_verb_writes_a_checkpoint_that_says_what_was_found(data, checkpoint, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    argv = ["calibrate", str(checkpoint), "--data", str(data), "--frames", "300", "-o", str(out)]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "on clips that were not fitted" in text
    header, sampler = load(out)
    assert header.network["calibrated"] is True
    assert header.provenance["a"] == 1
    found = header.provenance["calibration"]
    np.testing.assert_allclose(found["scale"], sampler.calibration.scale.numpy(), atol=1e-3)
    assert len(found["clips"]) == 3
    assert len(found["halves"]) == 2
    json.dumps(found)
    again = tmp_path / "again.safetensors"  # fitted to the network, not on top of the last fit
    assert main([*argv[:1], str(out), *argv[2:-1], str(again)]) == 0
    assert read_header(again) == header
    assert again.read_bytes() == out.read_bytes()


def test_what_draws_no_hypotheses_is_refused(data, tmp_path, capsys):
    said = Checkpoint("martinez", {"width": 16}, "person", "blazepose33-h36m17@1", (), 1, fixed_hypotheses=1)
    save(tmp_path / "one.safetensors", build_sampler(said), said)
    argv = [
        "calibrate",
        str(tmp_path / "one.safetensors"),
        "--data",
        str(data),
        "-o",
        str(tmp_path / "out.safetensors"),
    ]
    assert main(argv) != 0
    assert "draws no hypotheses" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_calibration_can_be_taken_away():
    said = Checkpoint("mdn", {"width": 16, "blocks": 1, "kernels": 2}, "person", "x", (49,), 20)
    sampler = build_sampler(dataclasses.replace(said, network={**said.network, "calibrated": True}))
    attach(sampler, None)
    assert not [name for name in sampler.state_dict() if "calibration" in name]
