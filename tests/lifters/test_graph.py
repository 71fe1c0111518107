from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posepipe.lifters import graph
from posepipe.skeleton import H36M_17


@pytest.mark.shared
def test_matrices_are_those_of_the_authors(authors: Path) -> None:
    np.testing.assert_allclose(graph.modulated_adjacency(), np.load(authors / "htnet/graph.npz")["adj"], atol=1e-7)
    np.testing.assert_allclose(graph.spatial_partitions(), np.load(authors / "dcgct/graph.npz")["A"], atol=1e-7)
    drpose = np.load(authors / "drpose_dcgct/graph.npz")
    np.testing.assert_allclose(graph.chebyshev(), drpose["cheb_T"], atol=3e-7)
    looped = graph.row_normalised(graph.bone_adjacency() + np.eye(17))
    np.testing.assert_allclose(looped, drpose["graformer_adj"], atol=1e-7)


def test_hops_are_distances_in_the_tree() -> None:
    hops = graph.hops_from(graph.SPINE)
    names = ("spine", "hip", "thorax", "l_hip", "head", "r_shoulder", "l_ankle", "r_wrist")
    assert [int(hops[H36M_17.index(n)]) for n in names] == [0, 1, 1, 2, 3, 2, 4, 4]
    for parent, child in H36M_17.bones:
        assert abs(hops[parent] - hops[child]) == 1


def test_partitions_split_the_neighbourhood_and_weigh_it_to_one() -> None:
    parts = graph.spatial_partitions()
    np.testing.assert_allclose(parts.sum((0, 1)), 1.0, atol=1e-6)
    assert ((parts > 0).sum(0) <= 1).all(), "an edge belongs to one partition"
    edges = (parts[1] > 0) | (parts[2] > 0)
    assert np.array_equal(edges, graph.bone_adjacency() > 0)
    assert np.array_equal(parts[1] > 0, (parts[2] > 0).T)


def test_chebyshev_terms_are_polynomials_of_the_laplacian() -> None:
    terms = graph.chebyshev(3).astype(np.float64)
    eigenvalues, vectors = np.linalg.eig(terms[1])
    for order, term in enumerate(terms):
        polynomial = np.polynomial.chebyshev.chebval(eigenvalues, [0] * order + [1])
        np.testing.assert_allclose((vectors * polynomial) @ np.linalg.inv(vectors), term, atol=1e-5)
    np.testing.assert_allclose(terms[1].sum(1), 0.0, atol=1e-6)


@pytest.mark.parametrize("make", [graph.modulated_adjacency, graph.chebyshev, graph.spatial_partitions])
def test_left_and_right_are_treated_alike(make) -> None:  # type: ignore[no-untyped-def]
    matrix = make()
    mirror = list(H36M_17.mirror)
    assert np.array_equal(matrix, matrix[..., mirror, :][..., mirror])
