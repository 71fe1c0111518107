"""MMPose's networks by name, file or alias, with their weights, ready to be asked."""

import contextlib
import difflib
import os

COCO = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
]
RANDOM = "random"


class Refused(Exception):
    """What was asked for is not possible: (what is wrong, what to do about it)."""


def pose_model(name, weights, device):
    """(the network, places of the COCO-17 joints among its keypoints)."""
    from mmpose.apis import init_model

    config, published = find(name, "mmpose", "--detector")
    model = _made(init_model, config, weights, published, device, "--detector-weights")
    names = model.dataset_meta.get("keypoint_id2name", {})
    at = {label: index for index, label in names.items()}
    missing = [label for label in COCO if label not in at]
    if missing:
        raise Refused(
            f"{name} gives no {missing[0]} (its keypoints are {', '.join(list(at)[:6])} ...)",
            "Use a network for whole bodies in COCO's layout.",
        )
    return model, [at[label] for label in COCO]


def person_model(name, weights, device):
    """A detector of people. name: None for MMPose's own RTMDet-m."""
    from mmdet.apis import init_detector
    from mmpose.apis.inferencers.utils import default_det_models

    if name is None:
        usual = default_det_models["human"]
        name, published = usual["model"], usual["weights"]
        config, _ = find(name, "mmdet", "--boxes")
    else:
        config, published = find(name, "mmdet", "--boxes")
    return _made(init_detector, config, weights, published, device, "--box-weights")


def find(name, package, option):
    """(configuration, address of the published weights or None) of a path, a name or an alias."""
    from mmengine.config import Config
    from mmengine.fileio import load
    from mmengine.infer import BaseInferencer

    if name.endswith(".py"):
        if not os.path.isfile(name):
            raise Refused(f"There is no configuration at {name}", f"Check the path, or give {option} a name.")
        return Config.fromfile(name), None
    folder = BaseInferencer._get_repo_or_mim_dir(package)
    known = []
    for metafile in load(os.path.join(folder, "model-index.yml"))["Import"]:
        for model in load(os.path.join(folder, metafile))["Models"]:
            aliases = model.get("Alias", [])
            names = [model["Name"], *([aliases] if isinstance(aliases, str) else aliases)]
            if name.lower() in (n.lower() for n in names):
                weights = model.get("Weights")
                weights = weights[0] if isinstance(weights, list) else weights
                return Config.fromfile(os.path.join(folder, model["Config"])), weights
            known += names
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f"Did you mean '{near[0]}'?" if near else f"Give {option} the path of a configuration."
    raise Refused(f"{package} knows no model called '{name}'", hint)


def _made(init, config, weights, published, device, option):
    import torch

    # Without this the constructor would fetch the backbone's own weights, only to overwrite them.
    config.model.backbone.init_cfg = None
    file = None if weights == RANDOM else weights or published
    if file is None and weights != RANDOM:
        raise Refused("It is not known where the weights are published", f"Give {option} FILE.")
    try:
        with torch.serialization.safe_globals(_admitted()):
            model = init(config, file, device=device)
    except Exception as error:
        if weights not in (None, RANDOM):
            raise Refused(f"MMPose cannot load {weights} ({_short(error)})", "Is it a file of this network?") from None
        if weights is None:
            raise Refused(
                f"MMPose could not fetch {published} ({_short(error)})",
                f"Fetch it by hand and give {option} FILE ({option} random measures speed without any weights).",
            ) from None
        raise
    if weights == RANDOM:
        _spread(model)
    return model


def _spread(model):
    """He initialisation. MMPose's own leaves numbers so small that processors take ten times as long for them."""
    import torch

    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, 0, 0.1)


def _admitted():
    """What MMPose's files hold beside tensors: numpy's arrays, and notes of the training's progress."""
    import numpy as np

    found = [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "u1", "?", "O")}]
    for thing in (np.array([1.0]).__reduce__()[0], np.float64(1).__reduce__()[0]):
        found += [
            (thing, f"{module}.{thing.__name__}") for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        ]
    with contextlib.suppress(ImportError):
        from mmengine.logging.history_buffer import HistoryBuffer

        found.append(HistoryBuffer)
    return found


def _short(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
