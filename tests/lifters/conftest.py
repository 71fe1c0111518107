"""Where the numbers to compare with come from: the authors' (shared) and our own small ones (committed)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def authors() -> Path:
    """The folder of data made with the authors' own networks; skips where it is not."""
    folder = Path(os.environ.get("POSEPIPE_SHARED", ROOT.parent / "shared")) / "fixtures"
    if not folder.is_dir():
        pytest.skip("needs ../shared/fixtures")
    return folder


PARITY = pytest.StashKey[dict[tuple[str, str], tuple[float, str]]]()


class Parity:
    """Compares with the authors' numbers and notes the largest difference; the table comes at the end of the run."""

    def __init__(self, notes: dict[tuple[str, str], tuple[float, str]]) -> None:
        self._notes = notes

    def __call__(
        self, system: str, what: str, got: Any, expected: Any, relative: bool = True, tolerance: float = 1e-5
    ) -> None:
        """relative: to the largest expected value; else the values are metres."""
        got, expected = (np.asarray(v.detach() if torch.is_tensor(v) else v, np.float64) for v in (got, expected))
        assert got.shape == expected.shape
        error = float(np.abs(got - expected).max()) / (float(np.abs(expected).max()) if relative else 1.0)
        before = self._notes.get((system, what), (0.0, ""))[0]
        self._notes[system, what] = max(error, before), "relative" if relative else "m"
        assert error <= tolerance, f"{system}, {what}: {error:.1e}"


@pytest.fixture(scope="session")
def parity(request: pytest.FixtureRequest) -> Parity:
    return Parity(request.config.stash.setdefault(PARITY, {}))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    notes = config.stash.get(PARITY, {})
    if notes:
        terminalreporter.section("largest difference from the authors' code")
        for (system, what), (error, unit) in sorted(notes.items()):
            terminalreporter.write_line(f"{system:<16} {what:<40} {error:.1e} {unit}")


class Pinned:
    """One npz written by fixtures/make_fixtures.py."""

    def __init__(self, name: str) -> None:
        with np.load(Path(__file__).parent / "fixtures" / f"{name}.npz") as file:
            self._arrays = {key: file[key] for key in file.files}
        self.network: dict[str, Any] = json.loads(str(self._arrays["network"]))

    def fill(self, module: nn.Module, part: str = "sampler") -> nn.Module:
        """Put the pinned weights into a module of the same architecture."""
        flat = torch.from_numpy(self._arrays[f"state/{part}"].astype(np.float32))
        floats = [v for v in module.state_dict().values() if torch.is_floating_point(v)]
        assert len(flat) == sum(v.numel() for v in floats)
        for value, piece in zip(floats, flat.split([v.numel() for v in floats]), strict=True):
            value.copy_(piece.view_as(value))
        return module.eval()

    def given(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self._arrays[f"in/{name}"])

    def expected(self, name: str) -> np.ndarray:
        return self._arrays[f"out/{name}"]

    def check_sampler(self, sampler: nn.Module, tolerance: float = 1e-5) -> None:
        """Hypotheses and log weights of the sampler on the pinned inputs."""
        with torch.no_grad():
            got = sampler(self.given("keypoints"), self.given("confidence"), self.given("noise"))
        for name, value in zip(("hypotheses", "log_weights"), got, strict=True):
            np.testing.assert_allclose(value.numpy(), self.expected(name), atol=tolerance, rtol=0)


@pytest.fixture
def pinned() -> Callable[[str], Pinned]:
    return Pinned
