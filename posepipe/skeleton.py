"""Joint layouts as data: names, parents for drawing and kinematics, left/right pairs.

Sources: H36M-17 in the order of VideoPose3D (Pavllo et al. 2019, common/h36m_dataset.py after removing static joints);
COCO-17 (Lin et al. 2014, keypoint annotations); BlazePose-33 (Bazarevsky et al. 2020; MediaPipe pose landmarks);
MPII-16 (Andriluka et al. 2014); MPI-INF-3DHP-17 (Mehta et al. 2017, the 17 "relevant" joints of its test set).
"""

from __future__ import annotations

from dataclasses import dataclass

from posepipe.errors import UsageError


@dataclass(frozen=True)
class Skeleton:
    """A joint layout. parents[i] is the parent of joint i, -1 at the root; pairs are (left, right) index pairs."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if len(self.parents) != len(self.joints):
            raise ValueError(f"{self.name}: {len(self.joints)} joints but {len(self.parents)} parents")

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Index of a joint by name; ValueError if the layout has no such joint."""
        return self.joints.index(joint)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) pairs, one for every joint but the root."""
        return tuple((p, c) for c, p in enumerate(self.parents) if p >= 0)

    @property
    def left(self) -> tuple[int, ...]:
        return tuple(pair[0] for pair in self.pairs)

    @property
    def right(self) -> tuple[int, ...]:
        return tuple(pair[1] for pair in self.pairs)

    @property
    def mirror(self) -> tuple[int, ...]:
        """Permutation that swaps left and right: mirrored[i] = original[mirror[i]]."""
        order = list(range(len(self.joints)))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return tuple(order)


def _skeleton(name: str, table: str) -> Skeleton:
    """Build a layout from lines of `joint parent`; left/right pairs follow from the l_ and r_ prefixes."""
    rows = [line.split() for line in table.strip().splitlines()]
    joints = tuple(row[0] for row in rows)
    parents = tuple(-1 if row[1] == "-" else joints.index(row[1]) for row in rows)
    pairs = tuple((i, joints.index("r_" + j[2:])) for i, j in enumerate(joints) if j.startswith("l_"))
    return Skeleton(name, joints, parents, pairs)


H36M_17 = _skeleton(
    "h36m17",
    """
    hip -
    r_hip hip
    r_knee r_hip
    r_ankle r_knee
    l_hip hip
    l_knee l_hip
    l_ankle l_knee
    spine hip
    thorax spine
    neck thorax
    head neck
    l_shoulder thorax
    l_elbow l_shoulder
    l_wrist l_elbow
    r_shoulder thorax
    r_elbow r_shoulder
    r_wrist r_elbow
    """,
)

COCO_17 = _skeleton(
    "coco17",
    """
    nose -
    l_eye nose
    r_eye nose
    l_ear l_eye
    r_ear r_eye
    l_shoulder nose
    r_shoulder nose
    l_elbow l_shoulder
    r_elbow r_shoulder
    l_wrist l_elbow
    r_wrist r_elbow
    l_hip l_shoulder
    r_hip r_shoulder
    l_knee l_hip
    r_knee r_hip
    l_ankle l_knee
    r_ankle r_knee
    """,
)

BLAZEPOSE_33 = _skeleton(
    "blazepose33",
    """
    nose -
    l_eye_inner nose
    l_eye l_eye_inner
    l_eye_outer l_eye
    r_eye_inner nose
    r_eye r_eye_inner
    r_eye_outer r_eye
    l_ear l_eye_outer
    r_ear r_eye_outer
    l_mouth nose
    r_mouth nose
    l_shoulder nose
    r_shoulder nose
    l_elbow l_shoulder
    r_elbow r_shoulder
    l_wrist l_elbow
    r_wrist r_elbow
    l_pinky l_wrist
    r_pinky r_wrist
    l_index l_wrist
    r_index r_wrist
    l_thumb l_wrist
    r_thumb r_wrist
    l_hip l_shoulder
    r_hip r_shoulder
    l_knee l_hip
    r_knee r_hip
    l_ankle l_knee
    r_ankle r_knee
    l_heel l_ankle
    r_heel r_ankle
    l_foot_index l_heel
    r_foot_index r_heel
    """,
)

MPII_16 = _skeleton(
    "mpii16",
    """
    r_ankle r_knee
    r_knee r_hip
    r_hip pelvis
    l_hip pelvis
    l_knee l_hip
    l_ankle l_knee
    pelvis -
    thorax pelvis
    upper_neck thorax
    head_top upper_neck
    r_wrist r_elbow
    r_elbow r_shoulder
    r_shoulder thorax
    l_shoulder thorax
    l_elbow l_shoulder
    l_wrist l_elbow
    """,
)

MPI_INF_3DHP_17 = _skeleton(
    "3dhp17",
    """
    head_top neck
    neck spine
    r_shoulder neck
    r_elbow r_shoulder
    r_wrist r_elbow
    l_shoulder neck
    l_elbow l_shoulder
    l_wrist l_elbow
    r_hip pelvis
    r_knee r_hip
    r_ankle r_knee
    l_hip pelvis
    l_knee l_hip
    l_ankle l_knee
    pelvis -
    spine pelvis
    head neck
    """,
)

SKELETONS = {s.name: s for s in (H36M_17, COCO_17, BLAZEPOSE_33, MPII_16, MPI_INF_3DHP_17)}


def skeleton(name: str) -> Skeleton:
    """Look a layout up by name; raises UsageError that lists the known ones."""
    if name not in SKELETONS:
        raise UsageError(f"Unknown skeleton '{name}'.", f"Known: {', '.join(SKELETONS)}.")
    return SKELETONS[name]
