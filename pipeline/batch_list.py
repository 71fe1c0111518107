"""The work list of a batch: which files and folders are videos, in a stable order, and where their results go."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from posepipe.errors import InputError, UsageError
from posepipe.pipeline.run import Outputs, outputs_of
from posepipe.pipeline.source.footage import stem_of
from posepipe.pipeline.source.images import is_numbered_image

# Files with these names are work even when they turn out to be damaged: somebody meant them to be videos.
_VIDEO = """
.3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m1v .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv
.qt .rm .rmvb .ts .vob .webm .wmv .y4m
"""
# Files with these are not even opened; any other is a video if FFmpeg finds a moving picture in it.
_OTHER = """
.aac .bmp .bvh .c3d .cfg .csv .doc .docx .exr .flac .h5 .hdf5 .heic .html .ini .jpeg .jpg .json .jsonl .log .m3u .m3u8
.m4a .md .mp3 .npy .npz .odt .ogg .onnx .opus .pdf .pkl .png .ppm .pt .pth .py .rtf .safetensors .sh .srt .svg .tar .tif
.tiff .toml .trc .txt .vtt .wav .webp .xml .yaml .yml .zip
"""
VIDEO_SUFFIXES, _OTHER_SUFFIXES = frozenset(_VIDEO.split()), frozenset(_OTHER.split())


@dataclass(frozen=True)
class WorkItem:
    """One video, or folder of images. name: relative to the batch's folder, with `/` ("." for that folder itself).
    source: its path. folder: where its results go. bytes: of the file or of all the images."""

    name: str
    source: Path
    folder: Path
    bytes: int

    def outputs(self, overlay: bool) -> tuple[Path, ...]:
        made: Outputs = outputs_of(self.source, self.folder, overlay)
        return tuple(path for path in (made.recording, made.overlay) if path)


@dataclass(frozen=True)
class _Found:
    name: str
    path: Path
    stem: str
    bytes: int


def work_list(folder: Path, out: Path) -> tuple[WorkItem, ...]:
    """Every video below `folder`, sorted by its relative path; hidden files, linked folders and `out` are left out.

    A folder with two or more numbered images and no video in it is one item as well, also `folder` itself.
    Results mirror the tree: a/b.mp4 -> out/a/b.h5, images in a/b -> out/a/b.h5. Where names differ only in their suffix
    (or in upper and lower case), each gets a folder of its full name: out/a/b.mp4/b.h5 and out/a/b.mov/b.h5.
    Raises InputError for what is no folder or holds no video, UsageError when results would lie among the inputs."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder.", "Give a folder of videos; for one video use: posepipe run VIDEO."
        )
    if folder.resolve() == out.resolve():
        raise UsageError(f"Results cannot go to {out}, among the videos themselves.", "Choose another folder with -o.")
    found = sorted(_search(folder, out.resolve()), key=lambda f: f.name)
    if not found:
        raise InputError(
            f"There is no video in {folder}.", "Images count when two or more of a folder have numbers in their names."
        )
    places = Counter(_place(f) for f in found)
    items = []
    for f in found:
        parent = out if f.name == "." else (out / f.name).parent
        where = parent / f.path.name if places[_place(f)] > 1 else parent
        items.append(WorkItem(f.name, f.path, where, f.bytes))
    sources = {f.path.resolve() for f in found}
    made = [path for item in items for path in item.outputs(overlay=True)]
    if any(path.resolve() in sources for path in made):
        raise UsageError(f"Results in {out} would replace videos in {folder}.", "Choose another folder with -o.")
    twice = [path for path, count in Counter(made).items() if count > 1]
    if twice:
        raise UsageError(f"Two videos in {folder} would both give {twice[0]}.", "Rename one of them.")
    return tuple(items)


def _place(found: _Found) -> str:
    """What two names must share for their results to collide, also where a disk ignores case."""
    return (found.name.rpartition("/")[0] + "/" + found.stem).casefold()


def _search(folder: Path, out: Path) -> Iterator[_Found]:
    def refuse(error: OSError) -> None:
        raise InputError(f"Cannot look into {error.filename} ({error.strerror}).", "Check its permissions.")

    for root, folders, names in os.walk(folder, onerror=refuse):
        here = Path(root)
        folders[:] = [f for f in folders if not f.startswith(".") and (here / f).resolve() != out]
        shown = [n for n in names if not n.startswith(".")]
        videos = [here / n for n in shown if _is_video(here / n)]
        for path in videos:
            yield _Found(path.relative_to(folder).as_posix(), path, path.stem, _size(path))
        # Images beside videos are their thumbnails.
        images = [] if videos else [here / n for n in shown if is_numbered_image(n)]
        if len(images) > 1:
            yield _Found(here.relative_to(folder).as_posix(), here, stem_of(here), sum(map(_size, images)))


def _is_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix not in _OTHER_SUFFIXES and path.is_file() and _has_picture(path))


def _has_picture(path: Path) -> bool:
    import av
    from av.error import FFmpegError

    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            kind = container.format.name
            if kind in ("tty", "image2", "hls", "concat") or kind.endswith("_pipe"):  # text, single pictures, lists
                return False
            cover = av.stream.Disposition.attached_pic
            return any(not s.disposition & cover and s.codec_context for s in container.streams.video)
    except (FFmpegError, OSError, ValueError):
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
