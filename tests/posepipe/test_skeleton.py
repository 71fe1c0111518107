"""The layouts against their publishers' own numbering."""

import pytest

from posepipe.errors import UsageError
from posepipe.skeleton import BLAZEPOSE_33, COCO_17, H36M_17, MPI_INF_3DHP_17, MPII_16, SKELETONS, Skeleton, skeleton

EVERY = pytest.mark.parametrize("layout", SKELETONS.values(), ids=lambda s: s.name)


def test_h36m_is_videopose3d_after_its_static_joints_are_removed():
    assert H36M_17.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert sorted(H36M_17.left) == [4, 5, 6, 11, 12, 13]
    assert sorted(H36M_17.right) == [1, 2, 3, 14, 15, 16]


def test_blazepose_is_mediapipes_numbering():
    landmarks = pytest.importorskip("mediapipe").solutions.pose.PoseLandmark

    def published(name: str) -> str:
        side = {"l": "LEFT", "r": "RIGHT"}.get(name.split("_")[0], "")
        part = name[2:].upper() if side else name.upper()
        return f"MOUTH_{side}" if part == "MOUTH" else f"{side}_{part}".strip("_")

    assert [published(joint) for joint in BLAZEPOSE_33.joints] == [landmark.name for landmark in landmarks]


def test_coco_mpii_and_3dhp_are_their_datasets_numbering():
    coco = "nose l_eye r_eye l_ear r_ear l_shoulder r_shoulder l_elbow r_elbow l_wrist r_wrist l_hip r_hip"
    assert list(COCO_17.joints) == [*coco.split(), "l_knee", "r_knee", "l_ankle", "r_ankle"]
    assert [MPII_16.index(j) for j in ("r_ankle", "l_hip", "pelvis", "head_top", "r_wrist", "l_wrist")] == [
        *(0, 3, 6, 9, 10, 15)
    ]
    assert [MPI_INF_3DHP_17.index(j) for j in ("head_top", "neck", "r_shoulder", "l_shoulder", "pelvis", "head")] == [
        *(0, 1, 2, 5, 14, 16)
    ]


@EVERY
def test_parents_make_one_tree(layout: Skeleton):
    assert len(set(layout.joints)) == len(layout)
    assert layout.parents.count(-1) == 1
    assert len(layout.bones) == len(layout) - 1
    for joint in range(len(layout)):
        path = [joint]
        while layout.parents[path[-1]] >= 0:
            path.append(layout.parents[path[-1]])
            assert len(path) <= len(layout), "a circle"


@EVERY
def test_mirroring_is_its_own_inverse_and_keeps_the_tree(layout: Skeleton):
    mirror = layout.mirror
    assert [mirror[mirror[i]] for i in range(len(layout))] == list(range(len(layout)))
    for child, parent in enumerate(layout.parents):
        mirrored = layout.parents[mirror[child]]
        assert mirrored == (mirror[parent] if parent >= 0 else -1)
    unpaired = {j for i, j in enumerate(layout.joints) if mirror[i] == i}
    assert not any(name.startswith(("l_", "r_")) for name in unpaired)


def test_an_unknown_layout_is_an_error_that_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"coco18.*h36m17, coco17"):
        skeleton("coco18")
    assert skeleton("coco17") is COCO_17


def test_a_layout_with_too_few_parents_is_refused():
    with pytest.raises(ValueError, match="2 joints but 1 parents"):
        Skeleton("broken", ("a", "b"), (-1,), ())
