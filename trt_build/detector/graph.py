"""A heatmap detector -> one ONNX graph: colours normalised, the network, and the average with the mirrored crop.

Needs torch and onnx. Weights are inside the graph, with every batch norm folded into the convolution before it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from posepipe.skeleton import skeleton
from posepipe.trt_build.detector.contract import INPUT, METADATA, OUTPUT, HeatmapContract
from posepipe.trt_build.detector.hrnet.net import HrNet
from posepipe.trt_build.detector.traced import OnnxNodes, write_network
from posepipe.trt_build.export_onnx import OPSET

# ImageNet's mean and standard deviation per channel, R G B, of 0..255.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Heatmaps(nn.Module):
    """crops (B, 3, H, W) RGB 0..255 -> heatmaps (B, J, H/4, W/4): what the graph below says, in torch.

    The mirrored crop goes through as another member of the batch. Its heatmaps are mirrored back, left and right
    joints exchanged and, but for `udp`, moved by one column, because a crop's pixels and a heatmap's do not have their
    mirror axis in the same place (Huang et al. 2020, section 3.1; MMPose's `shift_heatmap`)."""

    def __init__(self, net: nn.Module, contract: HeatmapContract) -> None:
        super().__init__()
        self.net, self._contract = net, contract

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        mean, std = (crops.new_tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
        x = (crops - mean) / std
        maps = self.net(x)
        if not self._contract.flip:
            return maps
        mirrored = self.net(x.flip(-1)).flip(-1)[:, list(skeleton(self._contract.skeleton).mirror)]
        if self._contract.decoding != "udp":
            mirrored[..., 1:] = mirrored[..., :-1].clone()
        return (maps + mirrored) * 0.5


def write_detector(net: HrNet, contract: HeatmapContract, out: Path) -> None:
    """Write the graph, with its contract in its metadata. B stays open."""
    import onnx
    from onnx import helper

    height, width = contract.heatmap
    joints = int(net.final_layer.out_channels)
    graph = OnnxNodes()
    x = graph.add("Sub", [INPUT, graph.constant("mean", _colours(MEAN))], "centred")
    x = graph.add("Mul", [x, graph.constant("scale", 1 / _colours(STD))], "normalised")
    if contract.flip:
        maps = _flip_averaged(graph, fold_norms(net), x, contract)
    else:
        maps = write_network(fold_norms(net), x, "", graph)
    graph.add("Identity", [maps], OUTPUT)
    sizes: dict[str, list[str | int | None]] = {
        INPUT: ["batch", 3, contract.height, contract.width],
        OUTPUT: ["batch", joints, height, width],
    }
    described = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in sizes.items()]
    made = helper.make_graph(graph.nodes, contract.detector, described[:1], described[1:], [*graph.constants.values()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="posepipe")
    model.ir_version = 10  # what ONNX Runtime 1.20 reads
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA, value=contract.to_json()))
    onnx.checker.check_model(model)
    onnx.save_model(model, str(out))


def _flip_averaged(graph: OnnxNodes, net: HrNet, x: str, contract: HeatmapContract) -> str:
    """Members of the batch: all crops, then all mirrored ones. What was mirrored comes back by Gather with constant
    columns, which every runtime has; a Slice that goes backwards not every one does."""
    width = contract.heatmap[1]
    back = list(range(width))[::-1]
    if contract.decoding != "udp":
        back = [back[0], *back[:-1]]
    mirrored = graph.add("Gather", [x, _indices(graph, "columns", range(contract.width)[::-1])], "mirrored", axis=3)
    both = graph.add("Concat", [x, mirrored], "both", axis=0)
    maps = write_network(net, both, "", graph)
    graph.nodes.append(_halves(maps))
    maps = graph.add(
        "Gather", ["second", _indices(graph, "joints", skeleton(contract.skeleton).mirror)], "named", axis=1
    )
    maps = graph.add("Gather", [maps, _indices(graph, "back", back)], "returned", axis=3)
    total = graph.add("Add", ["first", maps], "total")
    return graph.add("Mul", [total, graph.constant("half", np.array(0.5, np.float32))], "average")


def _halves(maps: str) -> Any:
    from onnx import helper

    return helper.make_node("Split", [maps], ["first", "second"], name="Split/halves", axis=0, num_outputs=2)


def _indices(graph: OnnxNodes, name: str, values: Iterable[int]) -> str:
    return graph.constant(name, np.array(list(values), np.int64))


def _colours(values: Sequence[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(3, 1, 1)


def example_crops(contract: HeatmapContract, people: int, seed: int) -> np.ndarray:
    """(people, 3, H, W) float32: seeded noise of three sizes, so that it has edges and plains as pictures do."""
    random = np.random.default_rng(seed)
    total = np.zeros((people, 3, contract.height, contract.width), np.float32)
    for cell in (4, 16, 64):
        small = random.uniform(0, 85, (people, 3, -(-contract.height // cell), -(-contract.width // cell)))
        total += small.repeat(cell, 2).repeat(cell, 3)[:, :, : contract.height, : contract.width].astype(np.float32)
    return total


def torch_heatmaps(net: HrNet, contract: HeatmapContract, crops: np.ndarray) -> np.ndarray:
    """What the network itself gives: what a graph is compared with."""
    with torch.no_grad():
        return Heatmaps(net, contract).eval()(torch.from_numpy(crops)).numpy()


def fold_norms(net: HrNet) -> HrNet:
    """A copy whose batch norms are folded into the convolutions before them (they are named bn1 after conv1, or stand
    next to each other)."""
    folded = copy.deepcopy(net).eval()
    for module in list(folded.modules()):
        children = list(module.named_children())
        for (first, conv), (second, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, first, fuse_conv_bn_eval(conv, norm))
                setattr(module, second, nn.Identity())
    return folded
