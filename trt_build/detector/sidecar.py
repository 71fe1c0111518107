"""The JSON side-car of a detector's engine; what it is for, and how it is checked, is as engine/sidecar.py says."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posepipe.errors import CheckpointError, EngineError
from posepipe.hashing import file_sha256
from posepipe.trt_build.detector.contract import HeatmapContract, parse
from posepipe.trt_build.engine.names import sidecar_path
from posepipe.trt_build.engine.sidecar import SELF, digest_of, write_signed

FORMAT = "posepipe-detector-engine-1"


@dataclass(frozen=True)
class DetectorEngine:
    """What is known of one engine. persons: crops per launch, no other number. difference: from ONNX Runtime, as a
    share of the largest heatmap value. layer_precisions: operator -> {element type: how many}."""

    contract: HeatmapContract
    persons: int
    precision: str
    onnx_sha256: str
    gpu: str
    compute_capability: str
    tensorrt: str
    driver: str
    cuda: str
    layer_precisions: dict[str, dict[str, int]]
    difference: float
    engine_sha256: str
    engine_bytes: int
    posepipe: str
    format: str = FORMAT

    def rebuild_command(self, folder: Path) -> str:
        """The command that makes this engine anew, on this machine."""
        return (
            f"posepipe build-engines --detector {self.contract.detector} "
            f"--detector-weights {shlex.quote(self.contract.weights or 'random')} --persons {self.persons} "
            f"--precision {self.precision} --backend tensorrt -o {shlex.quote(str(folder))}"
        )


def write_sidecar(engine: Path, info: DetectorEngine) -> Path:
    """Write the side-car of an engine (to a temporary name first). Raises OutputError."""
    return write_signed(sidecar_path(engine), json.loads(json.dumps(dataclasses.asdict(info))))


def read_sidecar(engine: Path) -> DetectorEngine:
    """The side-car of an engine. Raises EngineError if there is none, it is another's, or it was changed by hand."""
    path = sidecar_path(engine)
    fix = "Build the engine again with `posepipe build-engines --detector NAME --backend tensorrt`."
    try:
        data = json.loads(path.read_text())
        told = data.pop(SELF, None)
        if data.get("format") != FORMAT or told != digest_of(data):
            raise ValueError("not a detector's, of another version, or changed after it was written")
        data["contract"] = parse(json.dumps(data["contract"]), str(path))
        return DetectorEngine(**data)
    except FileNotFoundError:
        raise EngineError(f"The engine {engine} has no side-car {path.name} beside it.", fix) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, CheckpointError) as error:
        raise EngineError(f"The side-car {path} cannot be used ({error}).", fix) from None


def check_engine(info: DetectorEngine, engine: Path, gpu: str, compute_capability: str, tensorrt: str) -> None:
    """Refuse an engine of another GPU or TensorRT, or whose bytes are not those that were built. Raises EngineError
    with the command that builds it for this machine."""
    rebuild = f"Build it again: {info.rebuild_command(engine.parent)}"
    for what, has, wanted in (
        ("for the GPU", info.gpu, gpu),
        ("for compute capability", info.compute_capability, compute_capability),
        ("by TensorRT", info.tensorrt, tensorrt),
    ):
        if has != wanted:
            raise EngineError(f"{engine.name} was built {what} {has}, not {wanted}.", rebuild)
    try:
        if engine.stat().st_size != info.engine_bytes or file_sha256(engine) != info.engine_sha256:
            raise EngineError(f"The bytes of {engine.name} are not those that were built.", rebuild)
    except OSError as error:
        raise EngineError(f"The engine {engine} cannot be read ({error}).", rebuild) from None


def family(engine: Path) -> dict[int, tuple[Path, DetectorEngine]]:
    """persons -> the engines beside this one (and itself) that differ from it in the number of persons alone."""
    mine = read_sidecar(engine)
    found = {mine.persons: (engine, mine)}
    for other in sorted(engine.parent.glob("*.engine")):
        try:
            info = read_sidecar(other)
        except EngineError:
            continue
        if _kin(info) == _kin(mine):
            found.setdefault(info.persons, (other, info))
    return dict(sorted(found.items()))


def _kin(info: DetectorEngine) -> tuple[Any, ...]:
    return (info.contract.to_json(), info.precision, info.gpu, info.compute_capability, info.tensorrt)
