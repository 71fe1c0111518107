"""glTF 2.0 in one file (GLB): a JSON text and a block of numbers that it points into.

Source: Khronos, glTF 2.0 specification, sections 4 (GLB) and 3.6 (accessors). The JSON is plain dictionaries, since a
library for it holds the same names as classes and calculates nothing.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT, UBYTE, UINT = 5126, 5121, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {np.dtype("<f4"): FLOAT, np.dtype("u1"): UBYTE, np.dtype("<u4"): UINT}
_SHAPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class Numbers:
    """The binary block while it grows, with the JSON's accessors and bufferViews that describe it."""

    def __init__(self) -> None:
        self.accessors: list[dict[str, object]] = []
        self.views: list[dict[str, object]] = []
        self._blocks: list[bytes] = []
        self._length = 0

    def add(self, values: NDArray, target: int | None = None, bounds: bool = False) -> int:
        """The index of a new accessor for (N, *shape) float32, uint8 or uint32. bounds: with min and max, which key
        times and positions must have. Matrices are stored column by column."""
        values = np.ascontiguousarray(np.swapaxes(values, -1, -2) if values.shape[1:] == (4, 4) else values)
        view: dict[str, object] = {"buffer": 0, "byteOffset": self._length, "byteLength": values.nbytes}
        if target is not None:
            view["target"] = target
        accessor: dict[str, object] = {
            "bufferView": len(self.views),
            "componentType": _TYPES[values.dtype],
            "count": len(values),
            "type": _SHAPES[values.shape[1:]],
        }
        if bounds:
            accessor |= {"min": np.atleast_1d(values.min(0)).tolist(), "max": np.atleast_1d(values.max(0)).tolist()}
        self.views.append(view)
        self.accessors.append(accessor)
        block = values.tobytes()
        block += bytes(-len(block) % 4)
        self._blocks.append(block)
        self._length += len(block)
        return len(self.accessors) - 1

    def block(self) -> bytes:
        return b"".join(self._blocks)


def write_glb(path: Path, document: dict[str, object], numbers: Numbers) -> None:
    """The document with the numbers in it. OSError when it cannot be written."""
    block = numbers.block()
    whole = document | {
        "buffers": [{"byteLength": len(block)}],
        "bufferViews": numbers.views,
        "accessors": numbers.accessors,
    }
    text = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    with open(path, "wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(block)))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text)
        file.write(struct.pack("<I4s", len(block), b"BIN\0") + block)
