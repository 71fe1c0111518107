"""A convolutional network as ONNX nodes, by torch.fx. Needs torch and onnx.

torch.onnx.export takes two minutes for HRNet's nine hundred layers, of which there are four kinds: convolution, ReLU,
sum, nearest-neighbour upsampling. Written down one by one they take a second. What comes out is compared with torch
before it gets its name, as every graph is (make.py).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from posepipe.errors import CheckpointError


@dataclass
class OnnxNodes:
    """Nodes and constants of a graph in the making. `add` appends a node and returns the name of its output."""

    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def add(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(operation, inputs, [output], name=f"{operation}/{output}", **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def write_network(net: nn.Module, source: str, prefix: str, into: OnnxNodes) -> str:
    """Append the nodes of a network of one input and one output; returns the output's name.

    Raises CheckpointError for layers other than those four."""
    traced = fx.symbolic_trace(net)
    names: dict[fx.Node, str] = {}
    for node in traced.graph.nodes:
        label = f"{prefix}{node.name}"
        given = [names[a] for a in node.args if isinstance(a, fx.Node) and a in names]
        if node.op == "placeholder":
            names[node] = source
        elif node.op == "output":
            return names[node.args[0]]
        elif node.op == "call_function" and node.target is torch.relu:
            names[node] = into.add("Relu", given, label)
        elif node.op == "call_function" and node.target is operator.add:
            names[node] = into.add("Add", given, label)
        elif node.op == "call_module":
            names[node] = _layer(traced.get_submodule(str(node.target)), str(node.target), given[0], label, into)
        else:
            raise CheckpointError(f"{node.format_node()} cannot be written as a graph.")
    raise CheckpointError("The network has no output.")


def _layer(layer: nn.Module, name: str, source: str, label: str, into: OnnxNodes) -> str:
    if isinstance(layer, nn.Identity):
        return source
    if isinstance(layer, nn.ReLU):
        return into.add("Relu", [source], label)
    if isinstance(layer, nn.Upsample) and layer.mode == "nearest":
        by = float(np.asarray(layer.scale_factor).reshape(-1)[0])
        scales = into.constant(f"times{by:g}", np.array([1, 1, by, by], np.float32))
        how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return into.add("Resize", [source, "", scales], label, **how)
    if isinstance(layer, nn.Conv2d) and isinstance(layer.padding, tuple):
        inputs = [source, into.constant(f"{name}.weight", layer.weight.detach().numpy())]
        if layer.bias is not None:
            inputs.append(into.constant(f"{name}.bias", layer.bias.detach().numpy()))
        attributes = {"strides": layer.stride, "pads": [*layer.padding, *layer.padding], "group": layer.groups}
        return into.add("Conv", inputs, label, kernel_shape=layer.kernel_size, dilations=layer.dilation, **attributes)
    raise CheckpointError(f"The layer {name} ({type(layer).__name__}) cannot be written as a graph.")
