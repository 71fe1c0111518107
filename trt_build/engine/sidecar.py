"""The JSON side-car of an engine: what it was made of, for which machine, and how close it is to ONNX Runtime.

An engine is opaque and TensorRT trusts it: everything that has to be known before it is deserialised stands here, and
is checked first (check_engine), in well under a second. The side-car carries its own hash, so that one edited by hand
is noticed, and the engine's, so that a truncated one is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posepipe.errors import EngineError, OutputError
from posepipe.hashing import file_sha256
from posepipe.lifters.checkpoint import Checkpoint, parse
from posepipe.trt_build.engine.names import sidecar_path

FORMAT_VERSION = 1
SELF = "sidecar_sha256"


@dataclass(frozen=True)
class EngineInfo:
    """What is known of one engine.

    contract: the checkpoint's header as the engine uses it (input space, conversion, skeleton, noise shape, steps).
    checkpoint: file name of the weights. persons, hypotheses: the only shapes that the engine takes. precision: `fp32`
    or `fp16`. shapes: input and output tensors of the engine -> shape (inputs that its lifter does not use may be
    absent). layer_precisions: ONNX operator -> {element type: how many}. gate: what the accuracy gate measured
    (metres). tensorrt, driver, cuda: versions. gpu, compute_capability: of the machine that built it.
    """

    lifter: str
    contract: Checkpoint
    checkpoint: str
    checkpoint_sha256: str
    onnx_sha256: str
    persons: int
    hypotheses: int
    precision: str
    gpu: str
    compute_capability: str
    tensorrt: str
    driver: str
    cuda: str
    shapes: dict[str, tuple[int, ...]]
    layer_precisions: dict[str, dict[str, int]]
    gate: dict[str, float]
    engine_sha256: str
    engine_bytes: int
    posepipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def conversion(self) -> str:
        return self.contract.conversion

    @property
    def skeleton(self) -> str:
        return self.contract.skeleton

    @property
    def steps(self) -> int | None:
        return self.contract.steps

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.contract.noise_shape

    def rebuild_command(self, folder: Path) -> str:
        """The command that makes this engine anew, on this machine, into `folder`."""
        words = ["posepipe", "build-engines", "--lifter", self.lifter, "--checkpoint", str(folder / self.checkpoint)]
        return " ".join(
            [
                shlex.join(words),
                f"--persons {self.persons} --hypotheses {self.hypotheses}",
                *(_as_option(name, value) for name, value in self.settings.items() if value is not None),
                f"--precision {self.precision} --backend tensorrt -o {shlex.quote(str(folder))}",
            ]
        )


def _as_option(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{'' if value else 'no-'}{name}"
    return f"--{name} {shlex.quote(str(value))}"


def write_sidecar(engine: Path, info: EngineInfo) -> Path:
    """Write the side-car of an engine (to a temporary name first). Raises OutputError."""
    data = dataclasses.asdict(info)
    data["contract"] = json.loads(info.contract.to_json())
    return write_signed(sidecar_path(engine), json.loads(json.dumps(data)))


def write_signed(path: Path, data: dict[str, Any]) -> Path:
    """Write a side-car's JSON with its own hash in it, to a temporary name first. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps({**data, SELF: digest_of(data)}, indent=1, sort_keys=True) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"Cannot write {path} ({error}).", "Give a folder that you may write to.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_sidecar(path: Path) -> EngineInfo:
    """The side-car of an engine; `path` is the engine's or the side-car's. Raises EngineError if there is none, if it
    was changed by hand, or if another version of posepipe wrote it."""
    path = sidecar_path(path)
    fix = "Build the engine again with `posepipe build-engines --backend tensorrt`."
    try:
        data = json.loads(path.read_text())
        if not isinstance(data, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        raise EngineError(f"The engine {path.stem} has no side-car {path.name} beside it.", fix) from None
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"The side-car {path} cannot be read ({error}).", fix) from None
    if data.get("format_version") != FORMAT_VERSION:
        raise EngineError(f"The side-car {path} has the format version {data.get('format_version')}.", fix)
    told = data.pop(SELF, None)
    if told != digest_of(data):
        raise EngineError(f"The side-car {path} was changed after it was written.", fix)
    try:
        data["contract"] = parse(json.dumps(data["contract"]), str(path))
        data["shapes"] = {name: tuple(shape) for name, shape in data["shapes"].items()}
        info = EngineInfo(**data)
        for field_ in dataclasses.fields(EngineInfo):
            wanted = {"str": str, "int": int}.get(
                str(field_.type), dict if str(field_.type).startswith("dict") else None
            )
            if wanted and type(getattr(info, field_.name)) is not wanted:
                raise TypeError(f"'{field_.name}' is no {wanted.__name__}")
        return info
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"The side-car {path} is not one of this posepipe ({error}).", fix) from None


def digest_of(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def check_engine(
    info: EngineInfo,
    engine: Path,
    *,
    gpu: str | None = None,
    compute_capability: str | None = None,
    tensorrt: str | None = None,
    checkpoint_sha256: str | None = None,
    skeleton: str | None = None,
    conversion: str | None = None,
    steps: int | None = None,
    hypotheses: int | None = None,
    persons: int | None = None,
) -> None:
    """Refuse an engine that is not what is asked for, or whose bytes are not those that were built. What is None is not
    compared. persons: how many come in one launch; up to the engine's own number fit.

    Raises EngineError: one sentence, and the exact command that builds the engine for this machine."""
    engine = Path(engine)
    rebuild = f"Build it again: {info.rebuild_command(engine.parent)}"
    for what, has, wanted in (
        ("for the GPU", info.gpu, gpu),
        ("for compute capability", info.compute_capability, compute_capability),
        ("by TensorRT", info.tensorrt, tensorrt),
        ("from the weights", info.checkpoint_sha256[:12], checkpoint_sha256 and checkpoint_sha256[:12]),
        ("for the skeleton", info.skeleton, skeleton),
        ("for the conversion", info.conversion, conversion),
    ):
        if wanted is not None and has != wanted:
            raise EngineError(f"{engine.name} was built {what} {has}, not {wanted}.", rebuild)
    if steps is not None and steps != info.steps:
        other = dataclasses.replace(info, settings={**info.settings, "steps": steps})
        raise EngineError(
            f"{engine.name} takes {info.steps or 'no'} diffusion steps, not {steps}.",
            f"Build another: {other.rebuild_command(engine.parent)}",
        )
    if hypotheses is not None and hypotheses != info.hypotheses:
        raise EngineError(
            f"{engine.name} gives {info.hypotheses} hypotheses per launch, not {hypotheses}.",
            f"Build another: {dataclasses.replace(info, hypotheses=hypotheses).rebuild_command(engine.parent)}",
        )
    if persons is not None and not 1 <= persons <= info.persons:
        raise EngineError(
            f"{engine.name} takes 1 to {info.persons} persons per launch, not {persons}.",
            f"Build another: {dataclasses.replace(info, persons=persons).rebuild_command(engine.parent)}",
        )
    try:
        size = engine.stat().st_size
        if size != info.engine_bytes:
            raise EngineError(f"{engine.name} has {size} bytes instead of {info.engine_bytes}.", rebuild)
        if file_sha256(engine) != info.engine_sha256:
            raise EngineError(f"The bytes of {engine.name} are not those that were built.", rebuild)
    except OSError as error:
        raise EngineError(f"The engine {engine} cannot be read ({error}).", rebuild) from None


def engines_in(folder: Path) -> list[tuple[Path, EngineInfo]]:
    """The engines of a folder whose side-car can be read, by name. Damaged ones are left out: asking for such a one by
    its path says what is wrong with it."""
    found = []
    for engine in sorted(Path(folder).glob("*.engine")):
        try:
            found.append((engine, read_sidecar(engine)))
        except EngineError:
            continue
    return found
