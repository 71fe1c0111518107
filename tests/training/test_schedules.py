"""Learning rates against torch's own schedulers and against the published rules walked epoch by epoch."""

from __future__ import annotations

import pytest

from posepipe.training.schedules import cosine, epoch_decay, epoch_decay_after, exponential

torch = pytest.importorskip("torch")


def optimiser(rate: float):  # type: ignore[no-untyped-def]
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], rate)


def test_cosine_is_torchs() -> None:
    sgd = optimiser(3e-4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 100)
    for step in range(100):
        assert cosine(step + 20, 120, 3e-4, warm_up=20) == pytest.approx(theirs.get_last_lr()[0])
        sgd.step()
        theirs.step()
    assert [cosine(step, 120, 1.0, warm_up=4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_exponential_is_continuous() -> None:
    assert exponential(0, 1e-3, 0.96, 100_000) == 1e-3
    assert exponential(200_000, 1e-3, 0.96, 100_000) == pytest.approx(1e-3 * 0.96**2)
    assert exponential(50_000, 1e-3, 0.96, 100_000) == pytest.approx(1e-3 * 0.96**0.5)


def test_epochs_as_the_papers_walk_them() -> None:
    rate, late = 5e-4, 1e-4
    for epoch in range(1, 24):
        for step in ((epoch - 1) * 7, epoch * 7 - 1):
            assert epoch_decay(step, 7, 5e-4) == pytest.approx(rate)
            assert epoch_decay_after(step, 7, 1e-4) == pytest.approx(late)
        rate *= 0.5 if epoch % 5 == 0 else 0.95
        late *= 0.94 if epoch > 2 else 1
