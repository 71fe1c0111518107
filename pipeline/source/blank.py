"""Pictures for keypoints that came without a film: dark ones of its size, at its times."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

import numpy as np

from posepipe.pipeline.source.file import DecodeCounts, VideoInfo
from posepipe.pipeline.source.keypoints import KeypointClip
from posepipe.types import Frame

_GREY = 24


class BlankFilm:
    """`Footage` of a clip of keypoints: as many pictures as it says, one colour."""

    def __init__(self, clip: KeypointClip) -> None:
        self._clip = clip
        self.info = VideoInfo(
            clip.width, clip.height, clip.fps, clip.frames, clip.frames / clip.fps, "keypoints", 0, False, clip.sha256
        )
        self._given = 0

    @property
    def counts(self) -> DecodeCounts:
        return DecodeCounts(self._given, 0, 0, False)

    def __iter__(self) -> Iterator[Frame]:
        image = np.full((self._clip.height, self._clip.width, 3), _GREY, np.uint8)
        for index in range(self._clip.frames):
            self._given += 1
            yield Frame(index, index / self._clip.fps, image)

    def __enter__(self) -> BlankFilm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        pass
