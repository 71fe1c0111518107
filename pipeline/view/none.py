"""No picture at all: for machines without a screen, and for measuring."""

from __future__ import annotations

from posepipe.pipeline.view.protocol import ViewFrame


class NoViewer:
    """`--view none`."""

    name = "none"
    shows = False

    def open(self, title: str) -> None:
        pass

    def show(self, frame: ViewFrame) -> None:
        pass

    def keys(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass
