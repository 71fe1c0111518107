"""The settings that every recipe has. A recipe's own `Config` adds its network and losses, and its published values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from posepipe.training.augment import DEFAULT_AUGMENT, AugmentRanges

# They change where things go or how fast, not what comes out.
_HARMLESS = ("out", "log_dir", "log_every", "save_every", "threads", "workers")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """recipe: one of recipes.RECIPES. data: motion file of `posepipe data build`. out: the checkpoint to write.

    keypoints: "virtual" draws frames, augments them and looks at them with virtual cameras through the detector's noise
    (`person` space); anything else goes through the frames as the data set's own cameras saw them, with these
    keypoints: "gt" (exact projections) or a detector of the file (`screen` space).
    weights: a checkpoint of the same network to go on from, instead of random weights (its statistics with it).
    steps x batch x devices samples are seen; epochs > 0, for recorded keypoints, sets steps instead: passes over them.
    clip: largest norm of the gradient, 0 for any. average: decay of the averaged weights (EMA), 0 for none.
    keep: weights with the best validation, or the last. memory_mb: of frames held; a larger file is read as training
    goes on. workers: threads that make batches. log_dir: of TensorBoard's files, none by default.
    swing_deg, lean_deg, limb, elbow, knee, raised, exchange, recombine, mirror: of the augmentation of virtual
    keypoints, see augment.AugmentRanges. even: 0 draws every frame of mocap alike, 1 evenly over the space of poses,
    see data.batches.rarity.
    """

    recipe: str
    data: str
    out: str
    keypoints: str = "virtual"
    conversion: str = "blazepose33-h36m17@1"
    weights: str | None = None
    steps: int = 8000
    epochs: int = 0
    batch: int = 1024
    rate: float = 1e-3
    clip: float = 0.0
    average: float = 0.999
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    compile: bool = False
    seed: int = 0
    threads: int = 2
    workers: int = 1
    memory_mb: int = 2048
    validate_every: int = 2000
    validation_frames: int = 20_000
    save_every: int = 500
    keep: Literal["best", "last"] = "best"
    log_every: int = 50
    log_dir: str | None = None
    swing_deg: float = DEFAULT_AUGMENT.swing_deg
    lean_deg: float = DEFAULT_AUGMENT.lean_deg
    limb: float = DEFAULT_AUGMENT.limb
    elbow: float = DEFAULT_AUGMENT.elbow
    knee: float = DEFAULT_AUGMENT.knee
    raised: float = DEFAULT_AUGMENT.raised
    exchange: float = DEFAULT_AUGMENT.exchange
    recombine: float = DEFAULT_AUGMENT.recombine
    mirror: float = DEFAULT_AUGMENT.mirror
    even: float = 0.0

    @property
    def space(self) -> str:
        """The input space that these keypoints are in."""
        return "person" if self.keypoints == "virtual" else "screen"

    @property
    def augment_ranges(self) -> AugmentRanges:
        """What virtual keypoints are augmented by."""
        own = {field.name for field in fields(self)}
        chosen = {f.name: getattr(self, f.name) for f in fields(AugmentRanges) if f.name in own}
        return replace(DEFAULT_AUGMENT, **chosen)

    def decisive(self) -> dict[str, Any]:
        """What a state must agree in to be resumed: all that the loss curve depends on, with the size of the data."""
        values = {key: value for key, value in asdict(self).items() if key not in _HARMLESS}
        data = Path(self.data)
        return {**values, "data_bytes": data.stat().st_size if data.exists() else 0}
