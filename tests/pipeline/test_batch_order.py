"""In which order videos are given to a crew; the crew is a double that ends each at once."""

from pathlib import Path

from posepipe.pipeline.batch import run_batch
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_worker import failure
from posepipe.pipeline.settings import RunSettings


class _Crew:
    def __init__(self):
        self.given, self.taken = [], []

    def begin(self, items):
        pass

    def places(self):
        return 1 - len(self.given)

    def give(self, item):
        self.given.append(item)
        self.taken.append(item.name)

    def running(self):
        return ()

    def answers(self, seconds):
        ended, self.given = self.given, []
        return [(item, failure(item, "digest", "tried")) for item in ended]

    def end(self):
        pass


def test_the_largest_first_and_the_manifest_by_name(tmp_path):
    sizes = {"a.mp4": 10, "b.mp4": 3000, "c.mp4": 200, "d.mp4": 3000, "e.mp4": 0}
    items = [WorkItem(name, Path(name), tmp_path, size) for name, size in sizes.items()]
    crew = _Crew()
    run_batch(items, tmp_path, RunSettings(), "digest", crew=crew)
    assert crew.taken == ["b.mp4", "d.mp4", "c.mp4", "a.mp4", "e.mp4"]
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert [line.split('"')[3] for line in lines] == sorted(sizes)
