"""Names in files that others may have written, and where they must not lead: results, graphs and motion files."""

import dataclasses
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from posepipe.errors import CheckpointError, InputError
from posepipe.hashing import file_sha256
from posepipe.lifters.catalogue import WEIGHTS
from posepipe.pipeline import manifest
from posepipe.pipeline.batch import is_done
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.export.choose import PoseChoice, load
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.sink.h5 import read_h5
from posepipe.safe_npz import read_npz
from posepipe.trt_build.runners.contract import CONTRACT, WEIGHTS_SHA256, graph_info
from posepipe.trt_build.runners.contract import WEIGHTS as WEIGHTS_NAME


@pytest.fixture
def recording(record, figure, tmp_path):
    path = tmp_path / "out" / "clip.h5"
    path.parent.mkdir()
    pose = figure(np.random.default_rng(0), 3)
    return record(path, {0: {"frame": np.arange(3), "pose": pose}}, 3)


def test_a_manifests_paths_are_compared_and_never_followed(recording, tmp_path):
    out, source = tmp_path / "out", tmp_path / "clip.mp4"
    source.write_bytes(b"video")
    with h5py.File(recording, "r+") as file:
        file.attrs["source_sha256"] = file_sha256(source)
    item = WorkItem("clip.mp4", source, out, 5)
    result = manifest.Output("clip.h5", recording.stat().st_size, file_sha256(recording))
    settings = RunSettings(overlay=False)
    entry = manifest.Entry("clip.mp4", file_sha256(source), "s", manifest.OK, outputs=(result,))
    assert is_done(item, entry, out, settings, "s")
    shutil.copy(recording, tmp_path / "secret.h5")
    for path in ("../secret.h5", str(tmp_path / "secret.h5"), "deep/../clip.h5", "", "clip.h5\0"):
        moved = dataclasses.replace(entry, outputs=(dataclasses.replace(result, path=path),))
        assert not is_done(item, moved, out, settings, "s")
    altered = bytearray(recording.read_bytes())
    altered[len(altered) // 2] ^= 1
    recording.write_bytes(altered)  # of the right size: HDF5 is never shown it
    assert not is_done(item, entry, out, settings, "s")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external data", "virtual"])
def test_a_result_file_does_not_lead_into_another(recording, tmp_path, kind):
    other = shutil.copy(recording, tmp_path / "other.h5")
    (tmp_path / "raw").write_bytes(bytes(3 * 17 * 3 * 4))
    with h5py.File(recording, "r+") as file:
        del file["tracks/0/pose"]
        if kind == "external link":
            file["tracks/0/pose"] = h5py.ExternalLink(str(other), "/tracks/0/pose")
        elif kind == "soft link":
            file["tracks/0/pose"] = h5py.SoftLink("/tracks/0/hypotheses")
        elif kind == "external data":
            raw = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            file["tracks/0"].create_dataset("pose", (3, 17, 3), "f4", external=raw)
        else:
            layout = h5py.VirtualLayout((3, 17, 3), "f4")
            layout[:] = h5py.VirtualSource(str(other), "tracks/0/pose", (3, 17, 3))
            file["tracks/0"].create_virtual_dataset("pose", layout)
    for read in (read_h5, lambda path: load(path, PoseChoice())):
        with pytest.raises(InputError, match=r"a link to somewhere else|lies in another file"):
            read(recording)


def test_a_size_that_the_file_cannot_hold_is_refused_before_there_is_room_made_for_it(recording):
    with h5py.File(recording, "r+") as file:
        file["frames/pts"].resize((10**12,))
    with pytest.raises(InputError, match="claims"):
        read_h5(recording)


@pytest.mark.parametrize("name", ["../w.safetensors", "/dev/zero", "", ".", "..", "a/../w.safetensors", "link"])
def test_a_graphs_weights_lie_beside_it(tmp_path, name):
    folder = tmp_path / "graphs"
    folder.mkdir()
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    (folder / "link").symlink_to("/dev/zero")  # would be read for ever
    known = {CONTRACT: "{}", WEIGHTS_NAME: name, WEIGHTS_SHA256: file_sha256(tmp_path / "w.safetensors")}
    with pytest.raises(CheckpointError, match=r"not a file beside it|another version"):
        graph_info(folder / "g.onnx", known)


@pytest.mark.parametrize("place", ["../{}", "{absolute}"])
def test_onnx_runtime_does_not_read_weights_from_elsewhere(tmp_path, place):
    """Initialisers point into a file by name; ours by the plain name of the checkpoint beside the graph."""
    onnx = pytest.importorskip("onnx")
    from posepipe.trt_build.runners.ort import OrtRunner

    folder = tmp_path / "graphs"
    folder.mkdir()
    weights = Path(WEIGHTS) / "martinez.safetensors"
    shutil.copy(weights, tmp_path / weights.name)
    model = onnx.load(str(weights.with_suffix(".onnx")), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place.format(weights.name, absolute=tmp_path / weights.name)
    onnx.save_model(model, str(folder / "martinez.onnx"))
    with pytest.raises(CheckpointError, match="cannot load"):
        OrtRunner(folder / "martinez.onnx")


def test_members_of_an_archive_are_read_by_name_and_never_unpacked(tmp_path):
    path = tmp_path / "deep" / "a.npz"
    path.parent.mkdir()
    np.savez(path, x=np.arange(3))
    with zipfile.ZipFile(path) as archive:
        data = archive.read("x.npy")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../evil.npy", "/tmp/posepipe-evil.npy", "x.npy"):
            archive.writestr(name, data)
    assert read_npz(path, "hint").keys() >= {"x"}
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == ["deep", "deep/a.npz"]
    assert not Path("/tmp/posepipe-evil.npy").exists()
