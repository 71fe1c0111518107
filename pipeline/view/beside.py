"""Two viewers at once: what is watched, and the file it is saved to."""

from __future__ import annotations

from posepipe.pipeline.view.protocol import Viewer, ViewFrame


class Beside:
    """Shows every frame in the first and then in the second; named after the first, whose keys are heard."""

    shows = True

    def __init__(self, first: Viewer, second: Viewer) -> None:
        self.name = first.name
        self._both = (first, second)

    def open(self, title: str) -> None:
        for viewer in self._both:
            viewer.open(title)

    def show(self, frame: ViewFrame) -> None:
        for viewer in self._both:
            if viewer.shows:
                viewer.show(frame)

    def keys(self) -> tuple[str, ...]:
        return self._both[0].keys() + self._both[1].keys()

    def close(self) -> None:
        first, second = self._both
        try:
            first.close()
        finally:
            second.close()
