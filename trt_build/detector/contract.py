"""What a heatmap detector's graph takes and gives: written into the graph when it is exported, read when it runs.

No torch here: this is what running knows of a detector.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from posepipe.errors import CheckpointError

FORMAT_VERSION = 1
DECODINGS = ("msra", "dark", "udp")
INPUT, OUTPUT = "crops", "heatmaps"
METADATA = "posepipe.detector"  # key of the contract in an ONNX graph
REBUILD = "Make it again with `posepipe build-engines --detector {name} --detector-weights FILE`."


@dataclass(frozen=True)
class HeatmapContract:
    """A top-down detector: a crop with one person in, a heatmap per joint out.

    The graph takes `crops` (B, 3, height, width) float32 RGB 0..255 and gives `heatmaps` (B, J, heatmap_height,
    heatmap_width); normalising the colours and the average with the mirrored crop (where `flip` is set) are inside.
    padding: the crop is the person's box, so many times as large. decoding: `msra` (largest value, a quarter towards
    the larger neighbour), `dark` (Zhang et al. 2020), `udp` (Huang et al. 2020; it also crops differently). blur:
    kernel of `dark` and `udp`. network: arguments of the network. weights: name of the file, weights_sha256: of its
    bytes, "" for random weights."""

    detector: str
    network: dict[str, Any]
    width: int = 192
    height: int = 256
    decoding: str = "msra"
    blur: int = 11
    flip: bool = True
    padding: float = 1.25
    skeleton: str = "coco17"
    weights: str = ""
    weights_sha256: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def heatmap(self) -> tuple[int, int]:
        """(height, width) of a heatmap: a quarter of the crop's."""
        return self.height // 4, self.width // 4

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def parse(text: str, where: str) -> HeatmapContract:
    """JSON -> contract; raises CheckpointError that names what is wrong."""
    try:
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError(f"not an object: {data!r}")
        if data.get("format_version") != FORMAT_VERSION:
            raise ValueError(f"format version {data.get('format_version')}, this posepipe reads {FORMAT_VERSION}")
        contract = HeatmapContract(**data)
        if contract.decoding not in DECODINGS:
            raise ValueError(f"unknown decoding {contract.decoding!r}")
    except (ValueError, TypeError) as error:
        fix = REBUILD.format(name="NAME")
        raise CheckpointError(f"What the detector {where} says of itself cannot be used ({error}).", fix) from None
    return contract
