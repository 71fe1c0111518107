"""CMU joints to H36M-17, the same anatomical points from both sources.

Every point is the end of an Acclaim bone (ASF/AMC) or the start of the bone that follows it (position clips). Two of
them need a word:

- wrist: the Acclaim model splits the forearm 2:1 into `radius` and a collinear `wrist` bone, and the hand turns at the
  end of the second. `radius` alone makes a forearm of 0.67 upper arms, both make 1.01 (means over the six training
  subjects); Human3.6M has 0.90. The wrist is therefore put at two thirds of the second bone: elbow + 4/3 radius, 0.90.
  (Subject 05, whose elbow markers sat low, is the odd one: 0.45, 0.68 and 0.60.)
- spine: Human3.6M's spine lies at 0.476 of the way from hip to thorax. The end of `lowerback` lies at 0.487
  (0.480-0.493 over the subjects), the end of `upperback` at 0.75, so it is the end of `lowerback`.

Human3.6M's lengths: subject 1, 0.233 hip-spine, 0.257 spine-thorax, 0.279 upper arm, 0.252 forearm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import InputError
from posepipe.skeleton import H36M_17

FOREARM_PER_RADIUS = 4.0 / 3.0

# H36M-17 joint -> joint of the source. hip and the wrists are computed; a wrist's entry is the end of `radius`.
FROM_ACCLAIM = {
    "r_hip": "rhipjoint",
    "r_knee": "rfemur",
    "r_ankle": "rtibia",
    "l_hip": "lhipjoint",
    "l_knee": "lfemur",
    "l_ankle": "ltibia",
    "spine": "lowerback",
    "thorax": "thorax",
    "neck": "upperneck",
    "head": "head",
    "l_shoulder": "lclavicle",
    "l_elbow": "lhumerus",
    "l_wrist": "lradius",
    "r_shoulder": "rclavicle",
    "r_elbow": "rhumerus",
    "r_wrist": "rradius",
}
FROM_POSITIONS = {
    "r_hip": "RightUpLeg",
    "r_knee": "RightLeg",
    "r_ankle": "RightFoot",
    "l_hip": "LeftUpLeg",
    "l_knee": "LeftLeg",
    "l_ankle": "LeftFoot",
    "spine": "Spine",
    "thorax": "Neck",
    "neck": "Head",
    "head": "HeadEnd",
    "l_shoulder": "LeftArm",
    "l_elbow": "LeftForeArm",
    "l_wrist": "LeftHand",
    "r_shoulder": "RightArm",
    "r_elbow": "RightForeArm",
    "r_wrist": "RightHand",
}


def to_h36m17(joints: NDArray, joint_names: tuple[str, ...], mapping: dict[str, str]) -> NDArray[np.float64]:
    """(T, J, 3) joints named joint_names -> (T, 17, 3) in H36M-17, same frame and unit.

    mapping: FROM_ACCLAIM or FROM_POSITIONS. Raises InputError when the source lacks a joint."""
    missing = sorted({name for name in mapping.values() if name not in joint_names})
    if missing:
        raise InputError(f"The motion has no joints named {', '.join(missing)}.", "Its skeleton is not CMU's.")
    result = np.empty((len(joints), len(H36M_17), 3))
    for target, name in mapping.items():
        result[:, H36M_17.index(target)] = joints[:, joint_names.index(name)]
    result[:, H36M_17.index("hip")] = (result[:, H36M_17.index("l_hip")] + result[:, H36M_17.index("r_hip")]) / 2
    for side in ("l", "r"):
        elbow, wrist = H36M_17.index(f"{side}_elbow"), H36M_17.index(f"{side}_wrist")
        result[:, wrist] = result[:, elbow] + FOREARM_PER_RADIUS * (result[:, wrist] - result[:, elbow])
    return result
