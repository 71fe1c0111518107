from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from posepipe.errors import UsageError
from posepipe.lifters.schedulers import Scheduler, cosine, make_scheduler
from posepipe.lifters.schedulers.ddim import Ddim
from posepipe.lifters.schedulers.dpm_solver import DpmSolver


@pytest.mark.shared
def test_the_schedule_is_the_authors(authors: Path) -> None:
    for folder in ("drpose_dcgct", "drpose_htnet"):
        buffers = np.load(authors / folder / "schedule.npz")
        np.testing.assert_allclose(cosine.betas(), buffers["betas"], rtol=1e-12)
        kept = np.array([cosine.alpha_bar(t) for t in range(-1, 1000)])
        np.testing.assert_allclose(kept[1:], buffers["alphas_cumprod"], rtol=1e-12)
        np.testing.assert_allclose(kept[:-1], buffers["alphas_cumprod_prev"], rtol=1e-12)
        for steps in (1, 2, 5, 7):
            times = next(np.load(f)["times"] for f in (authors / folder).glob(f"sampling_K{steps}_*.npz"))
            assert list(cosine.spaced_times(steps)) == times.tolist()


@pytest.mark.shared
def test_ddim_with_all_steps_is_the_ddpm_posterior(authors: Path) -> None:
    """Ho et al. 2020, eq. 6-7: with eta 1 and every time visited, DDIM's step is the posterior q(x_t-1 | x_t, x_0)."""
    buffers = np.load(authors / "drpose_dcgct" / "schedule.npz")
    scheduler = Ddim(1000)
    for index in (0, 1, 400, 900, 997):
        time = scheduler.timesteps[index]
        of_clean, of_sample, of_noise = scheduler.coefficients(index)
        assert of_clean == pytest.approx(buffers["posterior_mean_coef1"][time], rel=1e-6)
        assert of_sample == pytest.approx(buffers["posterior_mean_coef2"][time], rel=1e-6)
        assert of_noise**2 == pytest.approx(buffers["posterior_variance"][time], rel=1e-6)


def test_the_schedule_goes_from_clean_to_noise() -> None:
    kept = [cosine.alpha_bar(t) for t in range(-1, 1000)]
    assert kept[0] == 1.0
    assert kept[-1] < 1e-8
    assert all(a > b for a, b in itertools.pairwise(kept))
    middle = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert cosine.alpha_bar(499) == pytest.approx(middle, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 26, 38, 200, 1000])
def test_times_are_torchs_linspace_cut_to_integers(steps: int) -> None:
    expected = [int(t) for t in torch.linspace(-1, 999, steps + 1).tolist()][::-1]
    assert list(cosine.spaced_times(steps)) == expected


def ideal(x: torch.Tensor, time: int, mean: float, deviation: float) -> torch.Tensor:
    """The best clean estimate there is for data that are N(mean, deviation^2): the conditional expectation."""
    kept = cosine.alpha_bar(time)
    gain = math.sqrt(kept) * deviation**2 / (kept * deviation**2 + 1 - kept)
    return mean + gain * (x - math.sqrt(kept) * mean)


def run(scheduler: Scheduler, start: torch.Tensor, mean: float, deviation: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    sample, previous = start, None
    for index, time in enumerate(scheduler.timesteps):
        clean = ideal(sample, time, mean, deviation)
        noise = torch.randn(start.shape, generator=generator, dtype=start.dtype) if scheduler.draws > 1 else None
        sample, previous = scheduler.step(index, clean, sample, noise, previous), clean
    return sample


def error_on_gaussian_data(scheduler: Scheduler) -> float:
    """Distance to the exact solution of the probability-flow ODE from time 799 to time 199. For Gaussian data it is
    linear: a sample that is z marginal deviations from the marginal mean stays so."""
    mean, deviation = 0.3, 0.2
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)

    def exact(time: int) -> torch.Tensor:
        kept = cosine.alpha_bar(time)
        return math.sqrt(kept) * mean + math.sqrt(kept * deviation**2 + 1 - kept) * z

    times = scheduler.timesteps
    first, last = times.index(799), times.index(199)
    sample, before = exact(799), times[first - 1]
    previous = ideal(exact(before), before, mean, deviation)
    for index in range(first, last):
        clean = ideal(sample, times[index], mean, deviation)
        sample, previous = scheduler.step(index, clean, sample, None, previous), clean
    return float((sample - exact(199)).abs().max())


def test_orders_of_accuracy_on_the_exact_ode() -> None:
    ddim = [error_on_gaussian_data(Ddim(k, eta=0.0)) for k in (25, 50, 100)]
    solver = [error_on_gaussian_data(DpmSolver(k)) for k in (25, 50, 100)]
    for coarse, fine in itertools.pairwise(ddim):
        assert 1.8 < coarse / fine < 2.3, "first order: half the step, half the error"
    for coarse, fine in itertools.pairwise(solver):
        assert 3.5 < coarse / fine < 4.6, "second order: half the step, a quarter of the error"
    assert solver[0] < ddim[0] / 4


def test_stochastic_ddim_gives_the_distribution_of_the_data() -> None:
    start = torch.randn(50_000, generator=torch.Generator().manual_seed(1))
    ends = [run(Ddim(steps), start, 0.3, 0.2, seed=2) for steps in (10, 50, 500)]
    for end in ends:
        assert float(end.mean()) == pytest.approx(0.3, abs=0.01)
    missing = [0.2 - float(end.std()) for end in ends]  # few, long steps lose spread: the mean stands in for a draw
    assert missing[0] > missing[1] > missing[2]
    assert abs(missing[2]) < 0.006


@pytest.mark.parametrize("scheduler", [Ddim(3), Ddim(4, eta=0.0), DpmSolver(5), Ddim(1), DpmSolver(1)])
def test_a_known_pose_is_reached_exactly(scheduler: Scheduler) -> None:
    end = run(scheduler, torch.randn(50, dtype=torch.float64), 0.7, 0.0)
    torch.testing.assert_close(end, torch.full((50,), 0.7, dtype=torch.float64))
    assert len(scheduler.timesteps) == {Ddim(3): 3, Ddim(4, eta=0.0): 4, DpmSolver(5): 5}.get(scheduler, 1)


def test_noise_draws_are_counted_as_they_are_used() -> None:
    assert make_scheduler("ddim", 5).draws == 5
    assert make_scheduler("ddim", 5, eta=0.0).draws == 1
    assert make_scheduler("dpm-solver", 5).draws == 1
    x = torch.zeros(2)
    with pytest.raises(ValueError, match="needs noise"):
        Ddim(5).step(0, x, x, None, None)
    with pytest.raises(ValueError, match="previous"):
        DpmSolver(5).step(1, x, x, None, None)


@pytest.mark.parametrize(("name", "steps"), [("ddim", 0), ("dpm-solver", 1001), ("euler", 5)])
def test_what_cannot_work_is_refused_in_words(name: str, steps: int) -> None:
    with pytest.raises(UsageError, match=r"Known: ddim|1 to 1000"):
        make_scheduler(name, steps)
