"""Train DC-GCT (Kang et al. 2023), also the first stage of DRPose.

posepipe train configs/train/dcgct_first_cmu.toml    then dcgct_second_cmu.toml, dcgct_cmu.toml: what is shipped
posepipe train configs/train/dcgct_published.toml    the paper's settings on Human3.6M
"""

from __future__ import annotations

from dataclasses import dataclass

from posepipe.training.recipes.joints import JointsConfig, train_joints
from posepipe.training.run import Metrics
from posepipe.training.session import Session

# The authors weigh the ends of limbs more; DRPose takes the same weights.
JOINT_WEIGHTS = (1.0, 1.0, 2.5, 2.5, 1.0, 2.5, 2.5, 1.0, 1.0, 1.0, 1.5, 1.5, 4.0, 4.0, 1.5, 4.0, 4.0)
EVEN = (1.0,) * 17


@dataclass(frozen=True, kw_only=True)
class Config(JointsConfig):
    """gcn_dropout: inside the graph convolutions. weighted: JOINT_WEIGHTS in the loss, as published, or plain MPJPE."""

    channels: int = 160
    gcn_dropout: float = 0.0
    weighted: bool = False


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics."""
    network = {key: getattr(config, key) for key in ("channels", "gcn_dropout")}
    return train_joints(config, session, "dcgct", network, JOINT_WEIGHTS if config.weighted else EVEN)
