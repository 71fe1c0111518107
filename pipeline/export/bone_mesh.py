"""Something to see in a skeleton file: every bone a long octahedron, every joint a small one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.pipeline.export.bvh_fit import Node
from posepipe.pipeline.render.palette import side
from posepipe.skeleton import H36M_17

_THICK = 0.09  # of a bone's length
_JOINT = 0.022  # metres
_SHORTEST = 1e-4  # metres; of anything shorter nothing can be seen

# Corner numbers of the eight faces, seen from outside anticlockwise: 0 and 1 the ends, 2 to 5 around.
_FACES = np.array([(0, 3, 2), (0, 4, 3), (0, 5, 4), (0, 2, 5), (1, 2, 3), (1, 3, 4), (1, 4, 5), (1, 5, 2)])


@dataclass(frozen=True)
class Mesh:
    """Flat-shaded triangles of the rest pose, three corners each. positions, normals: (V, 3) metres; node: (V,) which
    node of the skeleton moves the corner, stiffly; side: (V,) 0 middle, 1 left, 2 right."""

    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    node: NDArray[np.int64]
    side: NDArray[np.int64]


def rest_positions(nodes: tuple[Node, ...]) -> NDArray[np.float64]:
    """(nodes, 3) metres where the nodes are in the rest pose, the first at 0."""
    places = np.zeros((len(nodes), 3))
    for index, node in enumerate(nodes):
        if node.parent >= 0:
            places[index] = places[node.parent] + node.offset
    return places


def bone_mesh(nodes: tuple[Node, ...]) -> Mesh:
    """The whole person. A bone is moved by the node that it starts at, the ball at a joint by the joint's own node."""
    places = rest_positions(nodes)
    corners, mover, sides = [], [], []
    for index, node in enumerate(nodes):
        if node.joint is None:
            continue
        here = side(H36M_17, node.joint)
        length = float(np.linalg.norm(node.offset))
        if node.parent >= 0 and length > _SHORTEST:
            corners.append(_octahedron(places[node.parent], places[index], _THICK * length, 0.2))
            mover.append(node.parent)
            sides.append(here)
        up = np.array([0, _JOINT, 0])
        corners.append(_octahedron(places[index] - up, places[index] + up, _JOINT, 0.5))
        mover.append(index)
        sides.append(here)
    triangles = np.stack(corners)[:, _FACES]  # (pieces, 8, 3, 3)
    normals = np.cross(triangles[:, :, 1] - triangles[:, :, 0], triangles[:, :, 2] - triangles[:, :, 0])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    corners_each = len(_FACES) * 3
    return Mesh(
        triangles.reshape(-1, 3),
        np.repeat(normals, 3, axis=1).reshape(-1, 3),
        np.repeat(mover, corners_each),
        np.repeat(sides, corners_each),
    )


def _octahedron(start: NDArray, end: NDArray, thick: float, waist: float) -> NDArray[np.float64]:
    """(6, 3): the two ends, and four corners around the line, `waist` of the way along it."""
    along = (end - start) / np.linalg.norm(end - start)
    first = np.cross(along, (0, 0, 1) if abs(along[2]) < 0.9 else (1, 0, 0))
    first /= np.linalg.norm(first)
    second = np.cross(along, first)
    middle = start + waist * (end - start)
    around = [middle + thick * way for way in (first, second, -first, -second)]
    return np.stack([start, end, *around])
