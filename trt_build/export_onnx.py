"""Checkpoint -> one ONNX graph with the whole sampler in it (DESIGN §4). Needs torch and onnx.

The graph holds no large weights: its initialisers point into the checkpoint (ONNX external data is a file, an offset
and a length, and that is what a safetensors entry is), so the weights exist once on disk, as float16, and a Cast that
the runtime folds at load time makes them float32. Batch and hypotheses are symbolic; engines fix them later.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import struct
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posepipe.errors import CheckpointError
from posepipe.hashing import file_sha256
from posepipe.lifters.build import load
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.folded import fold
from posepipe.trt_build.fold import fold_constants, name_casts, order_gelu
from posepipe.trt_build.runners.ort import CONTRACT, WEIGHTS, WEIGHTS_SHA256, OrtRunner

OPSET = 18
INPUTS = ("keypoints", "confidence", "noise")
OUTPUTS = ("hypotheses", "log_weights")


def example_inputs(header: Checkpoint, batch: int = 2, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Seeded inputs of the contract's shapes, keypoints as spread out as in person space (RMS radius 1)."""
    generator = torch.Generator().manual_seed(seed)
    count = header.fixed_hypotheses or header.hypotheses
    return (
        0.7 * torch.randn(batch, 17, 2, generator=generator),
        torch.rand(batch, 17, generator=generator),
        torch.randn(batch, count, *header.noise_shape, generator=generator),
    )


def export_program(sampler: nn.Module, header: Checkpoint) -> Any:
    """Sampler -> onnx.ModelProto with inline float32 weights, symbolic `batch` (and `hypotheses` unless H is fixed)."""
    import onnx

    batch = torch.export.Dim("batch", min=1, max=4096)
    noise_dims: dict[int, Any] = {0: batch}
    if header.fixed_hypotheses is None:
        noise_dims[1] = torch.export.Dim("hypotheses", min=1, max=100_000)
    with _quietly():
        program = torch.onnx.export(
            sampler,
            example_inputs(header, batch=3),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: batch}, {0: batch}, noise_dims),
            external_data=False,
            # The exporter's optimiser folds norms into weights, under the old names; the runtimes do that at load time,
            # and the weights here have to stay the checkpoint's.
            optimize=False,
            verbose=False,
        )
    if program is None:
        raise CheckpointError(f"torch could not export '{header.lifter}'.")
    model = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # stack traces with paths of this machine
        node.doc_string = ""
    model.ClearField("metadata_props")
    del model.graph.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    name_casts(model)
    fold_constants(model, keep=sampler.state_dict())
    order_gelu(model)
    onnx.checker.check_model(model)
    return model


def point_into_checkpoint(model: Any, checkpoint: Path) -> Any:
    """Replace every initialiser that the checkpoint holds by a reference to its bytes (float16 ones get a Cast)."""
    import onnx
    from onnx import TensorProto, helper

    types = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
    dtypes: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
    entries, data_start = _safetensors_index(checkpoint)
    data = checkpoint.read_bytes()[data_start:]
    casts = []
    for tensor in model.graph.initializer:
        entry = entries.get(tensor.name)
        if entry is None or (not tensor.raw_data and not tensor.float_data):
            continue
        if list(tensor.dims) != entry["shape"]:
            raise CheckpointError(f"{tensor.name}: graph has {list(tensor.dims)}, checkpoint {entry['shape']}.")
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data, dtypes[entry["dtype"]], offset=begin, count=math.prod(tensor.dims))
        if not np.array_equal(onnx.numpy_helper.to_array(tensor).ravel(), values):
            raise CheckpointError(f"{tensor.name}: the graph's values are not those of {checkpoint}.")
        name, stored = tensor.name, types[entry["dtype"]]
        del tensor.external_data[:]
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_type = stored
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", checkpoint.name), ("offset", data_start + begin), ("length", end - begin)):
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=str(value)))
        if stored == TensorProto.FLOAT16:
            tensor.name = f"{name}.f16"
            casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"cast/{name}", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def export(checkpoint: Path, out: Path, variant: Mapping[str, Any] | None = None, folded: bool = True) -> Path:
    """Write the graph of a checkpoint next to it (external data may only lie in the graph's own folder).

    variant: header fields that this graph changes, e.g. the mixture's component means instead of samples. folded: in
    the form with fewer operations (lifters/folded.py), whose matrices are derived from the checkpoint's while the graph
    is loaded. Without it every product is with a matrix that the checkpoint holds, as the float16 variant needs it."""
    import onnx

    if out.parent.resolve() != checkpoint.parent.resolve():
        raise CheckpointError("The ONNX graph must lie in the folder of its checkpoint.", f"Use {checkpoint.parent}.")
    header, sampler = load(checkpoint, variant)
    if folded:
        sampler = fold(sampler)
    model = point_into_checkpoint(export_program(sampler, header), checkpoint)
    contract = ((CONTRACT, header.to_json()), (WEIGHTS, checkpoint.name), (WEIGHTS_SHA256, file_sha256(checkpoint)))
    for key, text in contract:
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=text))
    temporary = out.with_name(f".{out.name}.tmp")
    try:
        onnx.save_model(model, str(temporary))
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def compare_with_torch(
    checkpoint: Path, graph: Path, variant: Mapping[str, Any] | None = None, batch: int = 8, seed: int = 1
) -> float:
    """Largest difference between the graph in ONNX Runtime and the torch module on seeded inputs: in metres, or, where
    a result is larger than 1 m (weights without statistics give standardised numbers), as a share of the largest.

    torch calculates in float64: what is compared is the graph's own error, and not that plus torch's."""
    header, sampler = load(checkpoint, variant)
    inputs = example_inputs(header, batch, seed)
    with torch.no_grad():
        expected = [t.numpy() for t in sampler.double()(*(t.double() for t in inputs))]
    with OrtRunner(graph) as runner:
        got = runner.run(*(t.numpy() for t in inputs))
    return max(
        float(np.abs(g - e).max()) / max(1.0, float(np.abs(e).max())) for g, e in zip(got, expected, strict=True)
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's remarks about packages that are not installed and names that it does not need."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _safetensors_index(path: Path) -> tuple[dict[str, Any], int]:
    """Entries of a safetensors file and where its data begins (https://github.com/huggingface/safetensors#format)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length
