"""Files cut between two blocks, which decode without an error."""

import av
import numpy as np
import pytest

from posepipe.pipeline.source.file import VideoFile
from posepipe.pipeline.source.truncation import is_cut


def _film(path, **options):
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(40):
            image = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _counts(path):
    with VideoFile(path) as video:
        frames = sum(1 for _ in video)
        return frames, video.counts


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_wherever_it_is_cut_it_is_noticed(tmp_path, suffix):
    whole = _film(tmp_path / f"whole.{suffix}")
    assert _counts(whole)[0] == 40
    assert not _counts(whole)[1].cut_short
    data, silent = whole.read_bytes(), 0
    for share in np.linspace(0.3, 0.99, 12):
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(data[: int(len(data) * share)])
        frames, counts = _counts(cut)
        assert frames <= 40
        assert counts.cut_short
        silent += counts.bad_packets == 0
    assert silent, "none of these cuts would have been noticed by the decoder"


def test_a_recording_without_its_size_is_not_called_cut(tmp_path):
    live = _film(tmp_path / "live.mkv", live="1")
    assert not is_cut(live)
    frames, counts = _counts(live)
    assert (frames, counts.cut_short) == (40, False)
    (tmp_path / "a.avi").write_bytes(b"RIFF\xff\xff\xff\xffAVI " + bytes(100))
    (tmp_path / "b.mkv").write_bytes(bytes.fromhex("1a45dfa3"))
    (tmp_path / "c.mkv").write_bytes(b"")
    assert not any(is_cut(path) for path in tmp_path.glob("?.???"))
