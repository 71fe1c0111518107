"""What MMPose 1.3.2 needs to be imported beside mmcv-lite and a CPU build of torch.

1. mmpose and mmdet import `mmcv.ops`, whose compiled part (`mmcv._ext`) mmcv-lite does not have and nobody publishes
   wheels of. A stand-in takes its place while they are imported and is taken out again, because mmengine takes a module
   `mmcv._ext` for the full mmcv. Of all its operations top-down networks need none and RTMDet needs `nms`, which is
   written here; any other says so when it is called.
2. torchvision's wheel on PyPI is the CUDA build. Beside torch's CPU build its library does not load, and it cannot be
   imported because the operators `torchvision::nms` and `qnms` are not declared. Declaring them is enough.
"""

import importlib.util
import sys
import types

_KEPT = []  # a torch.library.Library takes its declarations with it when it goes


class _StandIn(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise RuntimeError(f"The operation {name} needs the full mmcv, which is not installed.")

        return missing


def import_openmmlab():
    """Import mmpose, and mmdet where it is installed; returns whether it is."""
    _import_torchvision()
    lite = importlib.util.find_spec("mmcv._ext") is None
    if lite:
        stand_in = _StandIn("mmcv._ext")
        stand_in.nms = nms
        sys.modules["mmcv._ext"] = stand_in
    try:
        with_mmdet = importlib.util.find_spec("mmdet") is not None
        if with_mmdet:
            pass
        import mmpose.apis
        import mmpose.models  # noqa: F401
    finally:
        if lite:
            del sys.modules["mmcv._ext"]
    return with_mmdet


def nms(boxes, scores, iou_threshold, offset=0):
    """Indices of the boxes (N, 4: left, top, right, bottom) that are kept, best first: none overlaps a better one by
    more than the threshold."""
    import torch

    order = scores.argsort(descending=True)
    boxes = boxes[order].double()
    size = (boxes[:, 2:] - boxes[:, :2] + offset).clamp(min=0)
    area = size[:, 0] * size[:, 1]
    kept, alive = [], torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        low, high = torch.maximum(boxes[i, :2], boxes[:, :2]), torch.minimum(boxes[i, 2:], boxes[:, 2:])
        common = (high - low + offset).clamp(min=0).prod(1)
        alive &= (common / (area[i] + area - common).clamp(min=1e-12) <= iou_threshold).to(alive.device)
    return order[kept]


def _import_torchvision():
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        import torchvision  # noqa: F401
