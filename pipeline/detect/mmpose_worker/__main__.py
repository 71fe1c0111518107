"""MMPose in a process of its own, asked over a pipe: `python pipeline/detect/mmpose_worker '{"model": ...}'`.

Runs in whatever Python has MMPose; posepipe need not be installed there. Standard input brings lines of JSON, a line
`frame` followed by the picture's bytes; every line but `frame` is answered by a line on standard output, which nothing
else may write to. Ends with its input.

    {"op": "frame", "shape": [h, w, 3]} + bytes (RGB)
    {"op": "people"}                      -> {"boxes": [[left, top, right, bottom, score], ...]}
    {"op": "poses", "boxes": [[...4]...]} -> {"keypoints": N x 17 x 2, "scores": N x 17}
"""

import json
import os
import sys
import traceback

from models import Refused, person_model, pose_model
from shim import import_openmmlab

MIN_SCORE = 0.3  # of a box, as MMPose's inferencer asks for


def main():
    answers, requests = _own_streams()
    asked = json.loads(sys.argv[1])
    try:
        session = _Session(asked)
        _say(answers, session.hello)
        while line := requests.readline():
            request = json.loads(line)
            if request["op"] == "frame":
                session.frame = _picture(requests, request["shape"])
            else:
                _say(answers, session.answer(request))
    except Refused as refusal:
        what, fix = refusal.args
        _say(answers, {"error": f"{what}.", "fix": fix})
    except Exception as error:  # noqa: BLE001 - whatever MMPose throws is told to the other side
        traceback.print_exc()
        _say(answers, {"error": f"MMPose failed ({type(error).__name__}: {error}).", "fix": ""})
        raise SystemExit(1) from None


class _Session:
    def __init__(self, asked):
        try:
            with_mmdet = import_openmmlab()
        except ImportError as error:
            raise Refused(
                f"MMPose cannot be imported by {sys.executable} ({error})", "See docs/detectors.md."
            ) from None
        import torch

        torch.set_num_threads(asked.get("threads") or max(1, (os.cpu_count() or 2) // 2))
        torch.set_flush_denormal(True)
        self.device = "cuda:0" if torch.cuda.is_available() else "cpu"
        self.model, self.places = pose_model(asked["model"], asked.get("weights"), self.device)
        self.people, note = None, ""
        try:
            if asked.get("people"):
                if not with_mmdet:
                    raise Refused("RTMDet needs mmdet, which is not installed", "Use --boxes finder.")
                self.people = person_model(asked.get("person_model"), asked.get("person_weights"), self.device)
        except Refused as refusal:
            if asked["people"] != "try":
                raise
            note = f"{refusal.args[0]}."
        self.frame = None
        self.hello = {"ready": True, "device": self.device, "people": self.people is not None, "note": note}

    def answer(self, request):
        if request["op"] == "people":
            return {"boxes": self._boxes()}
        import numpy as np
        from mmpose.apis import inference_topdown

        boxes = np.array(request["boxes"], np.float32).reshape(-1, 4)
        found = inference_topdown(self.model, self.frame, boxes) if len(boxes) else []
        keypoints = [one.pred_instances.keypoints[0][self.places, :2].tolist() for one in found]
        scores = [np.asarray(one.pred_instances.keypoint_scores[0])[self.places].tolist() for one in found]
        return {"keypoints": keypoints, "scores": scores}

    def _boxes(self):
        from mmdet.apis import inference_detector

        found = inference_detector(self.people, self.frame).pred_instances
        keep = (found.labels == 0) & (found.scores >= MIN_SCORE)  # 0: person, in COCO
        return [
            [*box, score] for box, score in zip(found.bboxes[keep].tolist(), found.scores[keep].tolist(), strict=True)
        ]


def _picture(requests, shape):
    import numpy as np

    data = requests.read(shape[0] * shape[1] * shape[2])
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(shape)[..., ::-1])  # MMPose reads BGR


def _own_streams():
    """Standard output is the pipe; what libraries print there goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers, sys.stdin.buffer


def _say(answers, value):
    print(json.dumps(value), file=answers, flush=True)


if __name__ == "__main__":
    main()
