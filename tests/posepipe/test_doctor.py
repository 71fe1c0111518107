"""`posepipe doctor` tells the truth about a machine, and its exit code says whether the main job can run."""

import ctypes
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from posepipe import doctor, doctor_checks, system_check
from posepipe.__main__ import VERBS, main
from posepipe.doctor_checks import BAD, OFF, OK, Finding

ABSENT = system_check.SystemLibrary("libposepipe-nowhere.so.9", "libnowhere9", "nobody")


def finding(state: str) -> Finding:
    return Finding("group", f"a-{state}-thing", state, "detail", "do this")


@pytest.mark.parametrize(("states", "code"), [((OK, OFF), 0), ((OK, OFF, BAD), 1), ((), 0)])
def test_only_what_the_main_job_needs_decides_the_exit_code(monkeypatch, capsys, states, code):
    monkeypatch.setattr(doctor, "everything", lambda: [finding(state) for state in states])
    assert main(["doctor"]) == code
    text = capsys.readouterr().out
    assert all(f"a-{state}-thing" in text for state in states)
    assert ("posepipe can run here." in text) == (code == 0)
    assert doctor.run(["--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["works"] == (code == 0)
    assert [f["state"] for f in report["findings"]] == list(states)


def test_the_real_report_names_every_runtime_library_model_and_backend(capsys):
    doctor.run(["--json"])
    findings = {f["name"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    for name, _, _ in doctor_checks.RUNTIME:
        assert findings[name]["state"] == OK
    assert findings["pose_landmark_full"]["detail"].startswith("6.4 MB")
    assert findings["pose_detection"]["state"] == OK
    assert "libx264" in findings["H.264 encoder"]["detail"]
    assert findings["onnxruntime"]["state"] == OK
    assert {"torch", "tensorrt", "mdn", "martinez"} <= findings.keys()


def test_without_rich_the_report_is_plain_text(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "everything", lambda: [finding(BAD)])
    assert doctor.run([]) == 1
    assert "✗ group      a-bad-thing" in capsys.readouterr().out


def test_a_missing_library_comes_with_the_requirement_to_install(monkeypatch):
    monkeypatch.setattr(doctor_checks.importlib.metadata, "version", raise_not_found)
    result = doctor_checks._library("h5py", "posepipe_no_such_module", "result files")
    assert (result.state, result.fix) == (BAD, "pip install 'h5py>=3.10'")
    assert "not installed" in result.detail


def raise_not_found(name: str) -> str:
    raise doctor_checks.importlib.metadata.PackageNotFoundError(name)


def test_a_library_that_does_not_load_points_at_the_system_libraries(monkeypatch, tmp_path):
    (tmp_path / "posepipe_broken_cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor_checks, "missing_libraries", lambda: (ABSENT,))
    result = doctor_checks._library("opencv-contrib-python", "posepipe_broken_cv2", "drawing")
    assert result.state == BAD
    assert "libGL.so.1" in result.detail
    assert "system libraries" in result.fix


def test_a_model_that_is_not_the_published_one_is_found(monkeypatch):
    name = "modules/pose_detection/pose_detection.tflite"
    monkeypatch.setattr(doctor_checks, "MODELS", {name: "0" * 64, "modules/pose_detection/gone.tflite": "0" * 64})
    other, gone = doctor_checks.models()
    assert (other.state, gone.state) == (BAD, BAD)
    assert "another file" in other.detail
    assert "mediapipe==0.10.21" in gone.fix


class FakeDriver:
    """libcuda as far as the doctor uses it."""

    def __init__(self, init: int, devices: int) -> None:
        self.init, self.devices = init, devices

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuDeviceGetCount(self, out: object) -> int:
        ctypes.cast(out, ctypes.POINTER(ctypes.c_int))[0] = self.devices
        return 0


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        (FakeDriver(0, 2), (2, "")),
        (FakeDriver(0, 0), (0, "the NVIDIA driver finds no GPU")),
        (FakeDriver(100, 0), (0, "the NVIDIA driver does not start (cuInit says 100)")),
        (None, (0, "no NVIDIA driver (libcuda.so.1 is not there)")),
    ],
)
def test_the_driver_is_asked_before_anything_touches_the_gpu(monkeypatch, driver, expected):
    def load(name: str) -> FakeDriver:
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(doctor_checks.ctypes, "CDLL", load)
    assert doctor_checks.cuda_driver() == expected


def test_tensorrt_without_a_driver_is_off_and_says_why(monkeypatch):
    monkeypatch.setattr(doctor_checks.importlib.util, "find_spec", lambda name: object())
    result = doctor_checks._tensorrt(0, "no NVIDIA driver (libcuda.so.1 is not there)")
    assert (result.state, result.detail) == (OFF, "no NVIDIA driver (libcuda.so.1 is not there)")


def test_missing_weights_of_the_default_lifter_stop_the_main_job(monkeypatch, tmp_path):
    from posepipe.lifters import catalogue

    monkeypatch.setattr(catalogue, "WEIGHTS", tmp_path)
    states = {f.name: f.state for f in doctor_checks.lifters()}
    assert states[catalogue.DEFAULT] == BAD
    assert states["martinez"] == OFF


def test_missing_system_libraries_are_named_with_one_command_to_paste(monkeypatch, capsys):
    wanted = (*system_check.LIBRARIES, ABSENT)
    monkeypatch.setattr(system_check.shutil, "which", lambda name: "/usr/bin/apt-get")
    monkeypatch.setattr(system_check.os, "geteuid", lambda: 1000)
    assert system_check.fix(wanted).endswith(
        "sudo apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libnowhere9"
    )
    assert system_check.missing_libraries((ABSENT,)) == (ABSENT,)
    monkeypatch.setattr(system_check, "missing_libraries", lambda: (ABSENT,))
    assert system_check.main() == 1
    assert "libposepipe-nowhere.so.9" in capsys.readouterr().err


@pytest.mark.parametrize(("missing", "says"), [((ABSENT,), "apt-get install"), ((), "posepipe doctor")])
def test_a_verb_that_cannot_import_says_what_to_install(monkeypatch, tmp_path, capsys, missing, says):
    (tmp_path / "posepipe_broken_verb.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(VERBS, "run", ("posepipe_broken_verb", ""))
    monkeypatch.setattr(system_check, "missing_libraries", lambda: missing)
    monkeypatch.setattr(system_check.shutil, "which", lambda name: "/usr/bin/apt-get")
    assert main(["run", "x.mp4"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "libGL.so.1" in error
    assert says in error


def test_where_there_is_no_apt_the_libraries_are_named(monkeypatch):
    monkeypatch.setattr(system_check.shutil, "which", lambda name: None)
    assert "libposepipe-nowhere.so.9" in system_check.fix((ABSENT,))


def test_the_system_check_runs_before_anything_is_installed():
    """`make demo` runs it with a bare Python: no site-packages, nothing but the standard library."""
    from pathlib import Path

    command = [sys.executable, "-S", "-E", "-s", "-m", "posepipe.system_check"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if system_check.missing_libraries() else 0)
    assert "Traceback" not in done.stderr


def test_a_codec_that_is_not_there_is_not_an_error():
    from av.codec import Codec

    assert doctor_checks._codec(Codec, "libx264")
    assert not doctor_checks._codec(Codec, "posepipe-no-such-codec")


def test_a_wrong_python_is_bad(monkeypatch):
    fake = SimpleNamespace(version_info=(3, 13, 0), executable="python3.13")
    monkeypatch.setattr(doctor_checks, "sys", fake)
    assert doctor_checks.machine()[0].state == BAD
