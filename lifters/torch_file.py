"""PyTorch's own files, read without running what they ask for. Needs torch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch


def load_weights_only(path: str | Path) -> Any:
    """What a .pth file holds, on the CPU. Raises OSError, or anything at all for a damaged file.

    From memory: of a file on disk, PyTorch's restricted reader asks for as many bytes as a damaged number says, and
    Python makes room for them before it reads (4 GiB for one text, found by fuzzing)."""
    return torch.load(io.BytesIO(Path(path).read_bytes()), map_location="cpu", weights_only=True)
