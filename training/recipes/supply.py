"""What every recipe on mocap needs: endless training batches made ahead in a thread, and fixed validation batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from posepipe.prefetch import prefetch
from posepipe.training.data.batches import batches
from posepipe.training.data.motion import Clip, load_motion
from posepipe.training.detector_noise import load_table
from posepipe.training.person_batches import PersonBatch, person_batch


@dataclass(frozen=True)
class Validation:
    """Subject 05 from unseen cameras: exact 2D, and 2D with the detector's noise."""

    exact: PersonBatch
    noisy: PersonBatch


@contextmanager
def training_batches(data: Path, batch: int, seed: int) -> Iterator[Iterator[tuple[Tensor, Tensor, Tensor]]]:
    """Endless (keypoints, confidence, joints) tensors from the training split; the order depends on the seed only."""
    clips = load_motion(data, "train")
    with closing(prefetch(_endless(clips, batch, seed), 6, "batches")) as stream:
        yield stream


def _endless(clips: Sequence[Clip], batch: int, seed: int) -> Generator[tuple[Tensor, Tensor, Tensor], None, None]:
    rng, table = np.random.default_rng(seed), load_table()
    for views in batches(clips, batch, rng):
        made = person_batch(views.joints_camera, views.rays2d, table, rng)
        yield torch.from_numpy(made.keypoints), torch.from_numpy(made.confidence), torch.from_numpy(made.joints)


def validation_batches(data: Path, count: int = 20_000, seed: int = 12345) -> Validation:
    """`count` frames of the validation split, not augmented, each seen by a camera of its own."""
    clips = load_motion(data, "validation")
    views = next(iter(batches(clips, count, np.random.default_rng(seed), augmented=False)))
    noise_rng = np.random.default_rng(seed + 1)
    return Validation(
        person_batch(views.joints_camera, views.rays2d, None, noise_rng),
        person_batch(views.joints_camera, views.rays2d, load_table(), noise_rng, clean_share=0.0),
    )
