"""The heatmap detectors that run without MMPose, by name. No torch here.

A name is `hrnet-w32` or `hrnet-w48`, then `-dark` or `-udp` for weights that were trained for these codecs, then
`-384x288` for the larger crop. The settings are those of MMPose 1.3.2's configurations of the same names
(configs/body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-*); MMPose names crops height x width.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from posepipe.errors import UsageError
from posepipe.trt_build.detector.contract import HeatmapContract

_NAME = re.compile(r"hrnet-w(32|48)(-dark|-udp)?(-384x288)?")


@dataclass(frozen=True)
class Entry:
    """One detector: its name, what its graph will promise, and MMPose's name for the same thing."""

    name: str
    contract: HeatmapContract
    mmpose: str

    @property
    def graph_name(self) -> str:
        return f"{self.name}.onnx"


def _entry(name: str) -> Entry:
    match = _NAME.fullmatch(name)
    assert match is not None
    width, codec, large = int(match[1]), (match[2] or "-msra")[1:], match[3] is not None
    height, across = (384, 288) if large else (256, 192)
    contract = HeatmapContract(name, {"width": width}, across, height, codec)
    words = "_" if codec == "msra" else f"_{codec}-"
    batch = {32: "8xb64", 48: "8xb32"}[width]
    return Entry(name, contract, f"td-hm_hrnet-w{width}{words}{batch}-210e_coco-{height}x{across}")


ENTRIES = tuple(
    _entry(f"hrnet-w{width}{codec}{size}")
    for width in (32, 48)
    for size in ("", "-384x288")
    for codec in ("", "-dark", "-udp")
)


def find(name: str) -> Entry | None:
    """The detector of that name, or None."""
    return next((e for e in ENTRIES if e.name == name), None)


def entry(name: str) -> Entry:
    """The detector of that name; UsageError that names the nearest."""
    found = find(name)
    if found is None:
        near = difflib.get_close_matches(name, [e.name for e in ENTRIES], 1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(e.name for e in ENTRIES)}."
        raise UsageError(f"No detector that could be exported is called '{name}'.", hint)
    return found


def cache_folder() -> Path:
    """Where graphs of detectors are put and looked for: ~/.cache/posepipe/detectors, or under XDG_CACHE_HOME."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "posepipe" / "detectors"


def graph_paths(name: str) -> tuple[Path, ...]:
    """Where the graph of a detector may lie, in the order in which they are tried."""
    file = entry(name).graph_name
    return Path("engines") / file, cache_folder() / file
