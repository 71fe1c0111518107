"""HTNet (Cai et al. 2023) behind the lifter contract: one hypothesis, no noise."""

from __future__ import annotations

from typing import Any

from posepipe.lifters.htnet.net import HTNet
from posepipe.lifters.joint_lifter import JointLifter


class HTNetSampler(JointLifter):
    """See JointLifter; `network` are HTNet's constructor arguments but for in_channels."""

    def __init__(self, flip: bool = True, use_confidence: bool = False, **network: Any) -> None:
        super().__init__(lambda channels: HTNet(channels, **network), flip, use_confidence)
