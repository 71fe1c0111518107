"""Train HTNet (Cai et al. 2023), also the first stage of DRPose and PRPose.

posepipe train configs/train/htnet_first_cmu.toml    then htnet_cmu.toml: what is shipped, fewer channels
posepipe train configs/train/htnet_published.toml    the paper's settings on Human3.6M
"""

from __future__ import annotations

from dataclasses import dataclass

from posepipe.training.recipes.joints import JointsConfig, train_joints
from posepipe.training.run import Metrics
from posepipe.training.session import Session

EVEN = (1.0,) * 17  # plain MPJPE


@dataclass(frozen=True, kw_only=True)
class Config(JointsConfig):
    """hidden, gcn_hidden: widths inside the MLPs and the graph convolutions."""

    channels: int = 240
    hidden: int = 1024
    gcn_hidden: int = 384


def train(config: Config, session: Session) -> Metrics:
    """Run the recipe. Writes config.out and returns the validation metrics."""
    network = {key: getattr(config, key) for key in ("channels", "hidden", "gcn_hidden")}
    return train_joints(config, session, "htnet", network, EVEN)
