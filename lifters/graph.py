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


def chebyshev_spectrum(order: int = 2) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The polynomials of `chebyshev` in their common eigenbasis: (to, back, responses) of shapes (17,17), (17,17) and
    (17, order+1), with T_k = back @ diag(responses[:, k]) @ to.

    The random-walk Laplacian is similar to the symmetric one, so its eigenvalues are real. Arms and legs are alike,
    so some are double; their vectors are made unique (in the order of the joints, first entry positive), or else two
    LAPACKs would give two bases."""
    bones = bone_adjacency() + np.eye(JOINTS)
    root = np.sqrt(bones.sum(1))
    values, vectors = np.linalg.eigh(bones / np.outer(root, root))
    groups = np.split(np.arange(JOINTS), np.flatnonzero(np.diff(values) > 1e-9) + 1)
    unique = np.concatenate([_unique_basis(vectors[:, group]) for group in groups], 1)
    values = np.concatenate([np.full(len(group), values[group].mean()) for group in groups])
    x = 1.0 - values
    terms = [np.ones(JOINTS), x]
    while len(terms) <= order:
        terms.append(2.0 * x * terms[-1] - terms[-2])
    responses = np.stack(terms[: order + 1], 1)
    return (
        (unique.T * root).astype(np.float32),
        (unique / root[:, None]).astype(np.float32),
        responses.astype(np.float32),
    )


def _unique_basis(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, d) orthonormal columns -> the orthonormal basis of their span that does not depend on which they were: the
    projections of the unit vectors in order, made orthogonal to those before, left out where nothing remains."""
    projector = vectors @ vectors.T
    basis: list[NDArray[np.float64]] = []
    for column in projector.T:
        rest = column - sum((b * (b @ column) for b in basis), np.zeros(len(column)))
        length = float(np.linalg.norm(rest))
        if len(basis) < vectors.shape[1] and length > 1e-3:
            basis.append(rest / length)
    return np.stack(basis, 1)


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
