"""The result file, written row by row. Its layout (DESIGN §5) is a contract: other people's programs read it.

Attributes of the root group carry what is needed to repeat the run; `/frames` has one entry per frame of the source;
each person has a group in `/tracks`. The bytes depend only on what was written, not on when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from posepipe.errors import InputError
from posepipe.pipeline.refine.clip import finish_clip
from posepipe.pipeline.sink.atomic import atomic_path, output_error
from posepipe.pipeline.sink.survivor import SurvivingFile
from posepipe.safe_h5 import READ_ERRORS, array, groups, open_h5

FORMAT_VERSION = 1
STATUS_OK, STATUS_NO_PERSON, STATUS_CORRUPT = 0, 1, 2

HEADER = (
    "posepipe_version", "source", "source_sha256", "width", "height", "fps", "skeleton", "joint_names", "detector",
    "conversion", "lifter", "checkpoint_sha256", "backend", "hypotheses", "steps", "seed", "camera",
)  # fmt: skip

# What a header may have besides; files that were written before have none of it.
OPTIONAL_HEADER = ("aggregate", "noise_refresh", "lifted_from", "smoothed", "person_height", "ground")

HeaderValue = str | int | float | Sequence[str]

# A chunk of at most a mebibyte is what HDF5 caches, and what reading one row has to unpack.
_CHUNK_BYTES = 1 << 20
_CHUNK_ROWS = 256
_FRAME_ROWS = 4096
_F4 = np.dtype("<f4")
_MAX_BUFFERED_BYTES = 4 << 20


class H5Writer:
    """Writes one result file; memory stays constant however long the video is.

    header: every name in HEADER (format_version, frames and units are added here); "hypotheses" is H, the same for
    every track; "smoothed", the names of OPTIONAL_COLUMNS that the file shall have; "person_height", metres, what every
    person is scaled to when the file is closed (see refine/clip.py). hypotheses_dtype: "float16" (default: half the
    size; rounds coordinates by at most 0.25 mm within 1 m of the hip and 0.5 mm beyond) or "float32". Use as a context
    manager: the file appears under its final name when the block ends without an exception, and not at all otherwise.
    Raises OutputError when the file cannot be written, ValueError for a header or a row of another shape than promised.
    """

    def __init__(
        self, final_path: str | Path, header: Mapping[str, HeaderValue], hypotheses_dtype: str = "float16"
    ) -> None:
        missing = [name for name in HEADER if name not in header]
        if missing:
            raise ValueError(f"header lacks {', '.join(missing)}")
        if hypotheses_dtype not in ("float16", "float32"):
            raise ValueError(f"hypotheses_dtype must be float16 or float32, not {hypotheses_dtype}")
        self._path = Path(final_path)
        self._header = dict(header)
        self._columns = row_columns(int(str(header["hypotheses"])), hypotheses_dtype)
        self._smoothed = tuple(str(name) for name in header.get("smoothed", ()))  # type: ignore[union-attr]
        self._columns |= {name: OPTIONAL_COLUMNS[name] for name in self._smoothed}
        self._row_bytes = sum(dtype.itemsize * int(np.prod(shape)) for shape, dtype in self._columns.values())
        self._chunk_rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // self._row_bytes))
        self._frames = 0
        self._frame_buffer: list[tuple[float, int]] = []
        self._buffers: dict[int, list[tuple[NDArray, ...]]] = {}
        self._buffered_rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> H5Writer:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            try:
                self._backing = SurvivingFile(temporary)
            except OSError as error:
                raise output_error(self._path, error) from error
            stack.callback(self._backing.close)
            # A fixed format range keeps the bytes the same whatever the HDF5 library's default becomes.
            self._file = h5py.File(self._backing, "w", libver=("earliest", "v108"))
            stack.push(self._finish)
            self._write_skeleton()
            self._check()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def frame(self, pts: float, status: int) -> int:
        """Append one frame of the source (its time in seconds and STATUS_*); returns its index in /frames."""
        self._frame_buffer.append((pts, status))
        if len(self._frame_buffer) >= _FRAME_ROWS:
            self._flush_frames()
            self._check()
        self._frames += 1
        return self._frames - 1

    def row(
        self,
        track_id: int,
        frame_index: int,
        keypoints_2d: ArrayLike,
        confidence: ArrayLike,
        hypotheses: ArrayLike,
        log_weights: ArrayLike,
        pose: ArrayLike,
        joint_std: ArrayLike,
        root: ArrayLike,
        smoothed: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Append one person in one frame. frame_index: into /frames. Shapes, units and types as in row_columns;
        smoothed has the columns that the header's "smoothed" names (KeyError otherwise)."""
        more = [(smoothed or {})[name] for name in self._smoothed]
        values = (frame_index, keypoints_2d, confidence, hypotheses, log_weights, pose, joint_std, root, *more)
        row = []
        for value, (name, (shape, dtype)) in zip(values, self._columns.items(), strict=True):
            array = np.array(value, dtype)  # a copy: the caller may reuse its arrays
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
            row.append(array)
        buffer = self._buffers.get(track_id)
        if buffer is None:
            buffer = self._buffers[track_id] = []
            self._make_track(track_id)
        buffer.append(tuple(row))
        self._buffered_rows += 1
        if len(buffer) >= self._chunk_rows:
            self._flush_track(track_id)
        elif self._buffered_rows * self._row_bytes > _MAX_BUFFERED_BYTES:  # many short tracks
            self._flush_tracks()
        self._check()

    def _check(self) -> None:
        if self._backing.error is not None:
            raise output_error(self._path, self._backing.error)

    def _write_skeleton(self) -> None:
        attributes = {**self._header, "format_version": FORMAT_VERSION, "units": "m"}
        attributes.pop("frames", None)  # written last: its presence says that the file is complete
        for name in sorted(attributes):
            value = attributes[name]
            if isinstance(value, str | int | float | np.generic):
                self._file.attrs[name] = value
            else:
                self._file.attrs[name] = np.array(list(value), dtype=h5py.string_dtype())
        frames = self._file.create_group("frames")
        for name, dtype in (("pts", "f8"), ("status", "u1")):
            frames.create_dataset(
                name, (0,), dtype, maxshape=(None,), chunks=(_FRAME_ROWS,), compression=1, shuffle=True
            )
        self._file.create_group("tracks")

    def _make_track(self, track_id: int) -> None:
        group = self._file["tracks"].create_group(str(track_id))
        for name, (shape, dtype) in self._columns.items():
            group.create_dataset(
                name,
                (0, *shape),
                dtype,
                maxshape=(None, *shape),
                chunks=(self._chunk_rows, *shape),
                # gzip, which every HDF5 has: packs the empty end of a short track's only chunk to nothing
                compression=1,
                shuffle=True,
            )

    def _flush_frames(self) -> None:
        rows, self._frame_buffer = self._frame_buffer, []
        _append(self._file["frames/pts"], np.array([pts for pts, _ in rows], "f8"))
        _append(self._file["frames/status"], np.array([status for _, status in rows], "u1"))

    def _flush_track(self, track_id: int) -> None:
        rows, self._buffers[track_id] = self._buffers[track_id], []
        self._buffered_rows -= len(rows)
        if rows:
            group = self._file["tracks"][str(track_id)]
            for name, values in zip(self._columns, zip(*rows, strict=True), strict=True):
                _append(group[name], np.stack(values))

    def _flush_tracks(self) -> None:
        for track_id in self._buffers:
            self._flush_track(track_id)

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush_frames()
            self._flush_tracks()
            height = self._header.get("person_height")
            finish_clip(self._file, None if height is None else float(str(height)))
            self._file.attrs["frames"] = self._frames
        self._file.close()
        if kind is None:
            self._check()


def row_columns(hypotheses: int, hypotheses_dtype: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Name -> (shape, dtype) of one row of a track, in the order of H5Writer.row (DESIGN §5).

    frame: index into /frames. keypoints_2d: px. hypotheses: metres, hip-relative, camera frame. pose: the aggregate,
    likewise. joint_std: metres. root: metres, camera frame, NaN where unknown."""
    f4 = _F4
    return {
        "frame": ((), np.dtype("<i8")),
        "keypoints_2d": ((17, 2), f4),
        "keypoint_confidence": ((17,), f4),
        "hypotheses": ((hypotheses, 17, 3), np.dtype(hypotheses_dtype).newbyteorder("<")),
        "log_weights": ((hypotheses,), f4),
        "pose": ((17, 3), f4),
        "joint_std": ((17,), f4),
        "root": ((3,), f4),
    }


# Smoothed over time, beside the raw ones; units and frames as of the raw ones. Came later than format_version 1, which
# stays: a reader that does not know them reads the rest as before.
OPTIONAL_COLUMNS: dict[str, tuple[tuple[int, ...], np.dtype]] = {
    "keypoints_2d_smoothed": ((17, 2), _F4),
    "pose_smoothed": ((17, 3), _F4),
    "root_smoothed": ((3,), _F4),
}


def _append(dataset: h5py.Dataset, rows: NDArray) -> None:
    start = len(dataset)
    dataset.resize(start + len(rows), axis=0)
    dataset[start:] = rows


@dataclass(frozen=True)
class TrackRecord:
    """One person over the whole recording: N rows, fields as in row_columns with N in front (hypotheses as stored).

    The smoothed fields (OPTIONAL_COLUMNS) are None where the file has none. scale: what lengths were multiplied with to
    bring the person to a given height; divide by it to have the lifter's own."""

    frame: NDArray[np.int64]
    keypoints_2d: NDArray[np.float32]
    keypoint_confidence: NDArray[np.float32]
    hypotheses: NDArray
    log_weights: NDArray[np.float32]
    pose: NDArray[np.float32]
    joint_std: NDArray[np.float32]
    root: NDArray[np.float32]
    keypoints_2d_smoothed: NDArray[np.float32] | None = None
    pose_smoothed: NDArray[np.float32] | None = None
    root_smoothed: NDArray[np.float32] | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Recording:
    """A result file in memory. header: its root attributes; pts: (T,) seconds; status: (T,) STATUS_*."""

    header: Mapping[str, HeaderValue]
    pts: NDArray[np.float64]
    status: NDArray[np.uint8]
    tracks: Mapping[int, TrackRecord]


def read_h5(path: str | Path) -> Recording:
    """Read a result file whole. Raises InputError when it is missing, no result file, incomplete, or of another
    format_version."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file.", "Give the .h5 file that posepipe run has written.")
    try:
        with open_h5(path) as file:
            version = file.attrs.get("format_version")
            if version is None:
                raise InputError(f"{path} is an HDF5 file, but not one of posepipe's.", "Run posepipe run again.")
            if not isinstance(version, int | np.integer) or version != FORMAT_VERSION:
                raise InputError(
                    f"{path} has format version {version}, this posepipe reads version {FORMAT_VERSION}.",
                    "Use the posepipe it was written with, or run posepipe run again.",
                )
            header = {name: _plain(name, value) for name, value in file.attrs.items()}
            if "frames" not in header:
                raise InputError(f"{path} is incomplete.", "It was not closed properly; run posepipe run again.")
            _check_header(header)
            pts, status = array(file, "frames/pts", "f", (None,)), array(file, "frames/status", "u", (None,))
            people = {_track_id(name): group for name, group in groups(file, "tracks").items()}
            tracks = {number: _track_record(people[number]) for number in sorted(people)}
            for number, track in tracks.items():
                if track.hypotheses.shape[1] != header["hypotheses"]:
                    raise ValueError(f"track {number} does not hold {header['hypotheses']} hypotheses")
    except READ_ERRORS as error:
        raise InputError(f"{path} is damaged or not a result file ({error}).", "Run posepipe run again.") from None
    rows_agree = all(
        len({len(values) for values in vars(track).values() if isinstance(values, np.ndarray)}) == 1
        for track in tracks.values()
    )
    if not header.get("frames") == len(pts) == len(status) or not rows_agree:
        raise InputError(f"{path} is incomplete.", "It was not closed properly; run posepipe run again.")
    return Recording(header, pts, status, tracks)


def _track_id(name: str) -> int:
    if not (name.isascii() and name.isdigit()):
        raise ValueError(f"'{name}' is not the number of a track")
    return int(name)


def _track_record(group: h5py.Group) -> TrackRecord:
    columns = {}
    for name, (shape, dtype) in (row_columns(1, "float32") | OPTIONAL_COLUMNS).items():
        if name not in OPTIONAL_COLUMNS or name in group:
            # Another skeleton or number of hypotheses is for the caller to see; here it has to have as many extents.
            columns[name] = array(group, name, dtype.kind, (None, *(None for _ in shape)))
    return TrackRecord(**columns, scale=float(group.attrs.get("scale", 1.0)))


_MOST_HYPOTHESES = 1 << 20
_WHOLE_NUMBERS = ("width", "height", "hypotheses", "steps", "seed", "frames")


def _check_header(header: Mapping[str, object]) -> None:
    """ValueError unless every entry is of its kind: what reads a result file counts on it."""
    for name in (*HEADER, "frames"):
        wanted = int if name in _WHOLE_NUMBERS else float if name == "fps" else tuple if name == "joint_names" else str
        if type(header.get(name)) is not wanted:
            raise ValueError(f"its '{name}' is missing or not what it should be")
    if not 1 <= header["hypotheses"] <= _MOST_HYPOTHESES:  # type: ignore[operator]
        raise ValueError(f"it names {header['hypotheses']} hypotheses")


def _plain(name: object, value: object) -> HeaderValue:
    """An attribute as a Python value: numpy scalars to int/float, string arrays to a tuple of str. ValueError for what
    is none of these: exports write the header as it is, and JSON has no other kinds."""
    if isinstance(value, np.ndarray):
        return tuple(str(item) for item in value)
    plain = value.item() if isinstance(value, np.generic) else value
    if not isinstance(name, str) or not isinstance(plain, str | int | float):
        raise ValueError(f"its attribute {name!r} is neither a text nor a number")
    return plain
