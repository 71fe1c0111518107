"""A live run in a process of its own, in which something breaks: python breaking_run.py FOLDER PLACE INDEX every|newest

PLACE: source, detect, lift, aggregate, render or sink raises at frame INDEX, and the moment goes to FOLDER/moment.
disk: nothing breaks, but every frame takes half a second to write. FOLDER/finished.h5 is a recording from before.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import conftest as fakes

from posepipe.pipeline import lift as lifting
from posepipe.pipeline.live import recorder
from posepipe.pipeline.live.lifting import LiftStage
from posepipe.pipeline.live.recorder import Target
from posepipe.pipeline.live.session import LiveOptions, run_live
from posepipe.pipeline.render.layout import compose
from posepipe.pipeline.render.stage import GroundState, update_ground
from posepipe.pipeline.settings import RunSettings

COUNT = 40


class Drawing(fakes.FakeViewer):
    def show(self, frame):
        super().show(frame)
        ground = update_ground(GroundState(), frame.tracks, frame.view)
        compose(frame.frame.image, frame.tracks, frame.caption, frame.view, ground)


def main() -> None:
    folder, place, at, every = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "every"
    target = Target(folder / "finished.h5", None)
    _run(fakes.FakeSource(5, live=False), fakes.FakeDetector(), fakes.FakeViewer(), target, True, fakes.FakeLifter)
    breaking, seen = [False], [0]

    def broken() -> None:
        (folder / "moment").write_text(str(time.monotonic()))
        raise RuntimeError(f"broken: {place}")

    class Source(fakes.FakeSource):
        def frames(self, gate):
            for captured in super().frames(gate):
                if place == "source" and captured.frame.index == at:
                    broken()
                yield captured

    class Detector(fakes.FakeDetector):
        def detect(self, frame):
            if place == "detect" and frame.index >= at:
                broken()
            return super().detect(frame)

    class Lifter(LiftStage):
        def lift(self, frame, poses, wanted):
            breaking[0] = place == "aggregate" and frame.index >= at
            if place == "lift" and frame.index >= at:
                broken()
            return super().lift(frame, poses, wanted)

    class Viewer(Drawing):
        def show(self, frame):
            if place == "render" and frame.frame.index >= at:
                broken()
            super().show(frame)

    aggregate, write = lifting.aggregate, recorder.write_result

    def aggregated(*given):
        if breaking[0]:
            broken()
        return aggregate(*given)

    def written(rows, result):
        seen[0] += 1
        if place == "sink" and result.frame.index >= at:
            broken()
        if place == "disk":
            time.sleep(0.5)
        return write(rows, result)

    lifting.aggregate, recorder.write_result = aggregated, written
    source = Source(COUNT if place != "disk" else None, 0.0 if every else 100.0, live=not every)
    if place == "disk":
        print("running", flush=True)
    _run(source, Detector(), Viewer(), Target(folder / "broken.h5", None), every, Lifter)


def _run(source, detector, viewer, target, every, lifter) -> None:
    options = LiveOptions(target.recording.parent, record=True, target=target, every=every)
    run_live(source, viewer, RunSettings(smooth=False), options, make_detector=detector, make_lifter=lifter)


if __name__ == "__main__":
    main()
