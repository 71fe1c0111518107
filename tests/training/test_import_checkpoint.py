from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from posepipe.errors import CheckpointError, OutputError, UsageError
from posepipe.lifters.authors import read_pth
from posepipe.lifters.checkpoint import Checkpoint, read_header
from posepipe.lifters.dcgct.sampler import DCGCTSampler
from posepipe.lifters.drpose.sampler import DRPoseSampler
from posepipe.lifters.htnet.sampler import HTNetSampler
from posepipe.lifters.martinez.sampler import MartinezSampler
from posepipe.lifters.mdn.sampler import MdnSampler
from posepipe.lifters.prpose.sampler import PrposeSampler
from posepipe.lifters.wsgan.sampler import WsganSampler
from posepipe.training.import_checkpoint.convert import SYSTEMS, import_checkpoint

SAMPLERS: dict[str, Callable[..., nn.Module]] = {
    "martinez": MartinezSampler,
    "mdn": MdnSampler,
    "wsgan": WsganSampler,
    "htnet": HTNetSampler,
    "dcgct": DCGCTSampler,
    "drpose": DRPoseSampler,
    "prpose": PrposeSampler,
}
WriteBundle = Callable[[Path, dict[str, np.ndarray]], Path]


def load(path: Path) -> tuple[Checkpoint, nn.Module]:
    """From the written file alone: header -> network, tensors -> weights, exactly the needed names."""
    from safetensors.torch import load_file

    header = read_header(path)
    sampler = SAMPLERS[header.lifter](**header.network)
    tensors = load_file(str(path))
    assert all(value.dtype == torch.float32 for value in tensors.values())
    missing, unexpected = sampler.load_state_dict(tensors, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return header, sampler.eval()


def trunk_variables(width: int, blocks: int, heads: dict[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Martinez' trunk by the authors' names, and output layers number -> size; Adam's slots and counters as well."""
    random = np.random.default_rng(seed)
    scopes = [("linear_model", "1", "", 32)]
    for i in range(blocks):
        scopes += [(f"linear_model/two_linear_{i}", f"{n}_{i}", f"{n - 1}{i}", width) for n in (2, 3)]
    found: dict[str, np.ndarray] = {}
    for scope, number, norm, fan_in in scopes:
        found[f"{scope}/w{number}"] = 0.5 * random.standard_normal((fan_in, width))
        found[f"{scope}/b{number}"] = random.standard_normal(width)
        for entry in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"{scope}/batch_normalization{norm}/{entry}"] = random.uniform(0.2, 1.0, width)
    for number, size in heads.items():
        found[f"linear_model/w{number}"] = random.standard_normal((width, size))
        found[f"linear_model/b{number}"] = random.standard_normal(size)
    found = {name: value.astype(np.float32) for name, value in found.items()}
    found |= {f"{name}/Adam": 0 * value for name, value in list(found.items())[:2]}
    return found | {"beta1_power": np.float32(0.9), "global_step": np.int32(5), "learning_rate": np.float32(1e-3)}


def clip(matrix: NDArray) -> NDArray:
    return matrix / max(1.0, np.linalg.norm(matrix))


def trunk(v: dict[str, np.ndarray], x: NDArray, blocks: int) -> NDArray:
    """The authors' trunk, from its description, in numpy."""

    def stage(x: NDArray, scope: str, number: str, norm: str) -> NDArray:
        y = x @ clip(v[f"{scope}/w{number}"]) + v[f"{scope}/b{number}"]
        gamma, beta, mean, var = (
            v[f"{scope}/batch_normalization{norm}/{e}"] for e in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return np.maximum(gamma * (y - mean) / np.sqrt(var + 1e-3) + beta, 0)

    x = stage(x, "linear_model", "1", "")
    for i in range(blocks):
        scope = f"linear_model/two_linear_{i}"
        x = x + stage(stage(x, scope, f"2_{i}", f"1{i}"), scope, f"3_{i}", f"2{i}")
    return x


def people(joints: list[int], seed: int = 1) -> tuple[torch.Tensor, NDArray]:
    """Keypoints (4,17,2), and the (4,32) vector of 16 of them."""
    keypoints = np.random.default_rng(seed).standard_normal((4, 17, 2)).astype(np.float32)
    return torch.from_numpy(keypoints), keypoints[:, joints].reshape(4, 32)


def test_martinez_checkpoint_runs_as_described(tmp_path: Path, write_bundle: WriteBundle) -> None:
    v = trunk_variables(6, 3, {4: 48})
    done = import_checkpoint("martinez-tf", write_bundle(tmp_path / "m-7", v), tmp_path / "out.safetensors")
    assert done.unexpected == ()
    assert "statistics" in done.warnings[0]
    header, sampler = load(done.path)
    assert (header.space, header.fixed_hypotheses, header.network["blocks"]) == ("screen", 1, 3)
    keypoints, x = people([j for j in range(17) if j != 9])
    expected = trunk(v, x, 3) @ clip(v["linear_model/w4"]) + v["linear_model/b4"]
    got, _ = sampler(keypoints, torch.ones(4, 17), torch.zeros(4, 1))
    np.testing.assert_allclose(got[:, 0, 1:].detach().numpy().reshape(4, 48), expected, atol=1e-5)


def test_mdn_checkpoint_runs_as_described(tmp_path: Path, write_bundle: WriteBundle) -> None:
    v = trunk_variables(6, 1, {4: 240, 5: 5, 6: 5})
    done = import_checkpoint("mdn-tf", write_bundle(tmp_path / "m", v), tmp_path / "out.safetensors")
    header, sampler = load(done.path)
    assert (header.hypotheses, header.fixed_hypotheses, header.noise_shape) == (5, 5, (49,))
    keypoints, x = people([j for j in range(17) if j != 7])
    hidden = trunk(v, x, 1)
    means = (hidden @ clip(v["linear_model/w4"]) + v["linear_model/b4"]).reshape(4, 48, 5)
    logits = hidden @ v["linear_model/w6"] + v["linear_model/b6"]
    got, log_weights = sampler(keypoints, torch.ones(4, 17), torch.zeros(4, 5, 49))
    expected = means.transpose(0, 2, 1).reshape(4, 5, 16, 3)
    np.testing.assert_allclose(got[:, :, 1:].detach().numpy(), expected, atol=1e-5)
    alpha = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(log_weights.exp().detach().numpy(), alpha, atol=1e-5)


def test_statistics_give_metres(tmp_path: Path, write_bundle: WriteBundle) -> None:
    v = trunk_variables(6, 1, {4: 48})
    random = np.random.default_rng(2)
    stats = {name: random.uniform(100, 500, (16, d)) for name, d in (("mean_2d", 2), ("std_2d", 2), ("mean_3d", 3))}
    stats |= {"std_3d": random.uniform(100, 500, 48), "image_size": np.array([1000, 1002])}
    np.savez(tmp_path / "stats.npz", **stats)
    write_bundle(tmp_path / "m", v)
    done = import_checkpoint(
        "martinez-tf", tmp_path / "m.index", tmp_path / "o.safetensors", statistics=tmp_path / "stats.npz"
    )
    assert done.warnings == ()
    _, sampler = load(done.path)
    joints = [j for j in range(17) if j != 9]
    pixels = random.uniform(200, 800, (4, 17, 2))
    x = ((pixels[:, joints] - stats["mean_2d"]) / stats["std_2d"]).reshape(4, 32)
    out = trunk(v, x, 1) @ clip(v["linear_model/w4"]) + v["linear_model/b4"]
    metres = (out * stats["std_3d"] + stats["mean_3d"].ravel()) / 1000
    screen = torch.from_numpy((pixels / 500 - np.array([1.0, 1.002])).astype(np.float32))
    got, _ = sampler(screen, torch.ones(4, 17), torch.zeros(4, 1))
    np.testing.assert_allclose(got[:, 0, 1:].detach().numpy().reshape(4, 48), metres, atol=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("system", "file", "second"),
    [
        ("martinez-tf", "martinez", None),
        ("mdn-tf", "mdn/checkpoint-4338038.index", None),
        ("wsgan-tf", "bmvc/checkpoint-931070", None),
        ("htnet", "htnet/model.pth", None),
        ("dcgct", "dcgct/model.pth", None),
        ("drpose", "drpose_dcgct/model.pth", None),
        ("drpose", "drpose_htnet/model.pth", None),
        ("prpose", "prpose_mgcn_avg/model.pth", "prpose_sampling_htnet/sh_model.pth"),
        ("prpose", "prpose_mlp_avg/model.pth", "prpose_mgcn_lw/model.pth"),
    ],
)
def test_files_of_the_authors_networks(
    authors: Path, tmp_path: Path, system: str, file: str, second: str | None
) -> None:
    lifter_file = None if second is None else authors / second
    done = import_checkpoint(system, authors / file, tmp_path / "o.safetensors", lifter_file=lifter_file)
    header, sampler = load(done.path)
    assert header == done.header
    assert len(header.provenance["sha256"]) == 64
    count = header.fixed_hypotheses or 2
    noise = torch.randn(3, count, *header.noise_shape)
    with torch.no_grad():
        hypotheses, log_weights = sampler(torch.randn(3, 17, 2), torch.ones(3, 17), noise)
    assert hypotheses.shape == (3, count, 17, 3)
    assert hypotheses.isfinite().all()
    np.testing.assert_allclose(log_weights.exp().sum(1).numpy(), 1.0, atol=1e-5)


@pytest.mark.shared
def test_data_parallel_names_and_lifter_beside(authors: Path, tmp_path: Path) -> None:
    for source, name in (("prpose_mlp_avg", "avg_model_x.pth"), ("prpose_mgcn_lw", "shhpe_model_x.pth")):
        state = read_pth(authors / source / "model.pth")
        torch.save(OrderedDict((f"module.{key}", value) for key, value in state.items()), tmp_path / name)
    parallel = import_checkpoint("prpose", tmp_path / "avg_model_x.pth", tmp_path / "a.safetensors")
    plain = import_checkpoint(
        "prpose", authors / "prpose_mlp_avg/model.pth", tmp_path / "b.safetensors",
        lifter_file=authors / "prpose_mgcn_lw/model.pth",
    )  # fmt: skip
    ours, theirs = load(parallel.path)[1].state_dict(), load(plain.path)[1].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.shared
def test_a_file_of_another_system_gets_the_list(authors: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.safetensors"
    for system, file in (("htnet", "dcgct"), ("dcgct", "htnet"), ("drpose", "htnet"), ("dcgct", "drpose_dcgct")):
        with pytest.raises(CheckpointError, match="This is not a"):
            import_checkpoint(system, authors / file / "model.pth", out)
    with pytest.raises(CheckpointError, match="no entry 'Generator/W_genfc1'"):
        import_checkpoint("wsgan-tf", authors / "mdn", out)
    assert not list(tmp_path.iterdir())


def test_misshaped_missing_and_unexpected_entries_are_named(tmp_path: Path, write_bundle: WriteBundle) -> None:
    v = trunk_variables(6, 1, {4: 240, 5: 5, 6: 5})
    del v["linear_model/b1"]
    write_bundle(tmp_path / "mdn", v)
    with pytest.raises(CheckpointError) as caught:
        import_checkpoint("martinez-tf", tmp_path / "mdn", tmp_path / "o.safetensors")
    text = str(caught.value)
    assert "1 missing (linear_model/b1)" in text
    assert "linear_model/w4 (240, 6) where (48, 6) is needed" in text
    assert "unexpected (linear_model/b5" in text
    assert not (tmp_path / "o.safetensors").exists()


def test_extra_entries_alone_are_only_reported(tmp_path: Path, write_bundle: WriteBundle) -> None:
    v = trunk_variables(6, 1, {4: 48}) | {"extra/thing": np.zeros(3, np.float32)}
    done = import_checkpoint("martinez-tf", write_bundle(tmp_path / "m", v), tmp_path / "o.safetensors")
    assert done.unexpected == ("extra/thing",)
    assert "1 entries of the file are not needed: extra/thing." in done.warnings


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, write_bundle: WriteBundle) -> None:
    v = trunk_variables(6, 1, {4: 48})
    v["linear_model/b4"][3] = np.nan
    with pytest.raises(CheckpointError, match="not finite"):
        import_checkpoint("martinez-tf", write_bundle(tmp_path / "m", v), tmp_path / "o.safetensors")
    assert not (tmp_path / "o.safetensors").exists()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 half a zip", bytes(5000)])
def test_files_of_another_kind_are_one_sentence(tmp_path: Path, system: str, content: bytes) -> None:
    for name in ("x.pth", "x.pth.index", "avg_model.pth", "shhpe_model.pth"):
        (tmp_path / name).write_bytes(content)
    file = tmp_path / ("avg_model.pth" if system == "prpose" else "x.pth")
    with pytest.raises(CheckpointError):
        import_checkpoint(system, file, tmp_path / "o.safetensors")
    assert not (tmp_path / "o.safetensors").exists()


def test_code_in_a_pth_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.mkdir, (tmp_path / "pwned",))  # type: ignore[return-value]

    torch.save({"w": Evil()}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="cannot be read as a PyTorch file of tensors"):
        import_checkpoint("htnet", tmp_path / "x.pth", tmp_path / "o.safetensors")
    assert not (tmp_path / "pwned").exists()


def test_wrong_calls_say_what_to_do(tmp_path: Path, write_bundle: WriteBundle) -> None:
    bundle = write_bundle(tmp_path / "m", trunk_variables(6, 1, {4: 48}))
    out = tmp_path / "o.safetensors"
    with pytest.raises(UsageError, match="Known: martinez-tf"):
        import_checkpoint("martinez", bundle, out)
    with pytest.raises(CheckpointError, match="There is no file"):
        import_checkpoint("htnet", tmp_path / "none.pth", out)
    with pytest.raises(UsageError, match="takes no statistics"):
        import_checkpoint("wsgan-tf", bundle, out, statistics=tmp_path / "s.npz")
    with pytest.raises(UsageError, match="takes no second file"):
        import_checkpoint("martinez-tf", bundle, out, lifter_file=bundle)
    with pytest.raises(CheckpointError, match=r"Cannot use the statistics in .*s\.npz"):
        import_checkpoint("martinez-tf", bundle, out, statistics=tmp_path / "s.npz")
    with pytest.raises(OutputError, match="Check that its folder exists"):
        import_checkpoint("martinez-tf", bundle, tmp_path / "none" / "o.safetensors")
    torch.save({"w": torch.zeros(1)}, tmp_path / "avg.pth")
    with pytest.raises(CheckpointError, match="published in two files"):
        import_checkpoint("prpose", tmp_path / "avg.pth", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [({"std_2d": 0.0}, "must be positive"), ({"mean_3d": np.nan}, "not finite"), ({"std_3d": None}, "std_3d")],
)
def test_bad_statistics_are_refused(
    tmp_path: Path, write_bundle: WriteBundle, change: dict[str, float | None], text: str
) -> None:
    shapes = {"mean_2d": (16, 2), "std_2d": (16, 2), "mean_3d": (16, 3), "std_3d": (16, 3), "image_size": (2,)}
    stats = {name: np.ones(shape) for name, shape in shapes.items()}
    for name, value in change.items():
        stats.pop(name)
        if value is not None:
            stats[name] = np.full(shapes[name], value)
    np.savez(tmp_path / "s.npz", **stats)
    bundle = write_bundle(tmp_path / "m", trunk_variables(6, 1, {4: 48}))
    with pytest.raises(CheckpointError, match=text):
        import_checkpoint("martinez-tf", bundle, tmp_path / "o.safetensors", statistics=tmp_path / "s.npz")
