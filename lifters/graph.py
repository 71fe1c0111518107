"""Constant matrices of the H36M-17 skeleton that the graph networks multiply with. They follow from the skeleton, so
they are computed and never stored in a checkpoint. NumPy only; float64 inside, float32 out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.skeleton import H36M_17

JOINTS = len(H36M_17)
SPINE = H36M_17.index("spine")


def bone_adjacency() -> NDArray[np.float64]:
    """(17,17) symmetric 0/1: 1 where two joints share a bone; zero diagonal."""
    adjacency = np.zeros((JOINTS, JOINTS))
    for parent, child in H36M_17.bones:
        adjacency[parent, child] = adjacency[child, parent] = 1.0
    return adjacency


def row_normalised(matrix: NDArray) -> NDArray[np.float64]:
    """Every row divided by its sum (rows must not be empty)."""
    return np.asarray(matrix, np.float64) / np.sum(matrix, axis=1, keepdims=True)


def modulated_adjacency() -> NDArray[np.float32]:
    """(17,17) affinity that modulated graph convolutions start from (Zou & Tang 2021; used by HTNet and PRPose): the
    row-normalised bones without self loops, then ones on the diagonal."""
    adjacency = row_normalised(bone_adjacency())
    np.fill_diagonal(adjacency, 1.0)
    return adjacency.astype(np.float32)


def chebyshev(order: int = 2) -> NDArray[np.float32]:
    """(order+1,17,17) Chebyshev polynomials T_0..T_order of L = I - rownorm(bones + I), T_k = 2 L T_{k-1} - T_{k-2}
    (Defferrard et al. 2016, §2.1). As in GraFormer and DRPose, L is the random-walk Laplacian (not symmetric) and is
    not rescaled to [-1, 1]."""
    laplacian = np.eye(JOINTS) - row_normalised(bone_adjacency() + np.eye(JOINTS))
    terms = [np.eye(JOINTS), laplacian]
    while len(terms) <= order:
        terms.append(2.0 * laplacian @ terms[-1] - terms[-2])
    return np.stack(terms[: order + 1]).astype(np.float32)


def hops_from(centre: int) -> NDArray[np.int64]:
    """(17,) number of bones between each joint and `centre`."""
    bones = bone_adjacency() > 0
    hops = np.full(JOINTS, -1)
    frontier, distance = {centre}, 0
    while frontier:
        hops[list(frontier)] = distance
        distance += 1
        frontier = {int(n) for j in frontier for n in np.flatnonzero(bones[j]) if hops[n] < 0}
    return hops


def spatial_partitions() -> NDArray[np.float32]:
    """(4,17,17) DC-GCT's partitions of the neighbourhood (after ST-GCN's "spatial configuration" and Cai et al. 2019's
    symmetric partition): self, neighbours closer to the spine, neighbours further from it, mirrored joint. The columns
    of the four together are normalised, A[k][v, w] weights what joint w receives from joint v.

    As in the authors' code, "closer" holds the edges whose source v is further from the spine than w, and conversely.
    """
    hops = hops_from(SPINE)
    bones = bone_adjacency()
    pairs = np.zeros_like(bones)
    for left, right in H36M_17.pairs:
        pairs[left, right] = pairs[right, left] = 1.0
    inward = bones * (hops[:, None] > hops[None, :])
    outward = bones * (hops[:, None] < hops[None, :])
    stack = np.stack([np.eye(JOINTS), inward, outward, pairs])
    return (stack / stack.sum(axis=(0, 1))).astype(np.float32)
