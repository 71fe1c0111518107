"""What MMPose 1.3.2 makes of a narrow HRNet with seeded weights: the numbers that test_hrnet_parity.py holds ours to.

    python tools/typing_links.py
    PYTHONPATH=.typing:tests/detectors PYTHON_WITH_MMPOSE tests/detectors/make_fixture.py

PYTHON_WITH_MMPOSE as docs/detectors.md installs it; posepipe need not be installed there. Writes fixtures/mmpose.npz.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from recipe import BOXES, CODECS, SEED, WIDTH, picture

from posepipe.pipeline.detect.mmpose_worker.shim import import_openmmlab

OUT = Path(__file__).with_name("fixtures") / "mmpose.npz"


def main() -> None:
    import_openmmlab()
    import torch
    from mmengine.config import Config
    from mmpose.apis import inference_topdown, init_model

    from posepipe.pipeline.detect.mmpose_worker.models import find
    from posepipe.trt_build.detector.catalogue import entry
    from posepipe.trt_build.detector.hrnet.net import HrNet
    from posepipe.trt_build.detector.hrnet.weights import seeded

    found: dict[str, np.ndarray] = {}
    values = seeded(HrNet(WIDTH), SEED)
    named = {
        ("head." if k.startswith("final_layer") else "backbone.") + k: torch.from_numpy(v) for k, v in values.items()
    }
    for codec in CODECS:
        config, _ = find(entry(f"hrnet-w32{'' if codec == 'msra' else '-' + codec}").mmpose, "mmpose", "--detector")
        assert isinstance(config, Config)
        for stage in (2, 3, 4):
            extra = config.model.backbone.extra[f"stage{stage}"]
            extra.num_channels = tuple(WIDTH << k for k in range(stage))
        config.model.head.in_channels = WIDTH
        config.model.backbone.init_cfg = None
        config.model.test_cfg.output_heatmaps = True
        model = init_model(config, None, device="cpu")
        missing, unexpected = model.load_state_dict(named, strict=False)
        assert not missing, missing
        assert not unexpected, unexpected
        results = inference_topdown(model, np.ascontiguousarray(picture()[..., ::-1]), BOXES)
        found[f"{codec}_keypoints"] = np.stack([r.pred_instances.keypoints[0] for r in results]).astype(np.float32)
        found[f"{codec}_scores"] = np.stack([r.pred_instances.keypoint_scores[0] for r in results]).astype(np.float32)
        maps = np.stack([np.asarray(r.pred_fields.heatmaps) for r in results])
        found[f"{codec}_heatmaps"] = maps[:, :, 3::9, 2::9].astype(np.float32)
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, **found)
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
