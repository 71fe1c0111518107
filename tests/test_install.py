"""`make demo` and `make test` on machines that we do not have: which Python, which torch, and when pip stays out."""

import importlib.util
import os
import stat
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def install(monkeypatch, tmp_path) -> ModuleType:
    """tools/install.py, with a repository of its own and a pip that only remembers what it was asked."""
    spec = importlib.util.spec_from_file_location("posepipe_install", ROOT / "tools" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for name, value in {"ROOT": tmp_path, "VENV": tmp_path / ".venv", "PYTHON": tmp_path / ".venv/bin/python"}.items():
        monkeypatch.setattr(module, name, value)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.11.2")
    monkeypatch.setattr(module, "runs", lambda *command: True)
    return module


class Pip:
    """Succeeds when the arguments hold `works`."""

    def __init__(self, works: str) -> None:
        self.works, self.calls = works, []

    def __call__(self, *arguments: str, quiet: bool = False) -> bool:
        self.calls.append(" ".join(arguments))
        return self.works in self.calls[-1]


@pytest.mark.parametrize(
    ("works", "tries"),
    [("torch==", 1), ("download.pytorch.org", 2), ("nothing works", 2)],
    ids=["a mirror offers it", "only PyTorch's index does", "no network"],
)
def test_the_cpu_build_of_torch_is_looked_for_near_then_far_and_its_absence_is_no_failure(
    install, monkeypatch, works, tries
):
    pip = Pip(works)
    monkeypatch.setattr(install, "pip", pip)
    monkeypatch.setattr(install, "runs", lambda *command: False)  # no torch yet
    install.install_cpu_torch()
    assert len(pip.calls) == tries
    assert all("torch==2.13.0+cpu" in call and "--no-deps" in call for call in pip.calls)
    assert "--extra-index-url" not in pip.calls[0]


def test_a_torch_that_fits_is_left_alone(install, monkeypatch):
    pip = Pip("")
    monkeypatch.setattr(install, "pip", pip)
    install.install_cpu_torch()
    assert pip.calls == []


@pytest.mark.parametrize(("choice", "cpu"), [("cpu", True), ("cuda", False)])
def test_torch_is_chosen_by_hand_where_someone_does(install, monkeypatch, choice, cpu):
    monkeypatch.setenv("TORCH", choice)
    assert install.wants_cpu_torch() is cpu


def test_a_misspelt_choice_is_refused(install, monkeypatch):
    monkeypatch.setenv("TORCH", "gpu")
    with pytest.raises(SystemExit, match="cpu, cuda or auto"):
        install.wants_cpu_torch()


def test_the_second_time_pip_is_not_started(install, monkeypatch, capsys):
    pip = Pip("--editable")
    monkeypatch.setattr(install, "pip", pip)
    assert install.main("runtime") == 0
    assert pip.calls == ["--editable ."]
    assert install.main("runtime") == 0
    assert len(pip.calls) == 1
    assert "up to date" in capsys.readouterr().out


def test_tests_need_more_than_the_demo_and_bring_it_along(install, monkeypatch):
    pip = Pip("--editable")
    monkeypatch.setattr(install, "pip", pip)
    install.main("runtime")
    monkeypatch.setattr(install, "wants_cpu_torch", lambda: False)
    install.main("dev")
    assert pip.calls == ["--editable .", "--editable .[dev]"]
    install.main("runtime")
    assert len(pip.calls) == 2


@pytest.mark.parametrize("changed", ["pyproject.toml", ".venv/pyvenv.cfg"])
def test_other_requirements_or_another_python_install_again(install, monkeypatch, changed):
    pip = Pip("--editable")
    monkeypatch.setattr(install, "pip", pip)
    install.main("runtime")
    with open(install.ROOT / changed, "a") as file:
        file.write("\n# changed\n")
    install.main("runtime")
    assert len(pip.calls) == 2


def test_a_failed_installation_is_not_remembered(install, monkeypatch, capsys):
    pip = Pip("nothing works")
    monkeypatch.setattr(install, "pip", pip)
    assert install.main("runtime") == 1
    assert "network" in capsys.readouterr().err
    assert not install.installed("runtime")


def find_python(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """tools/find_python.sh with nothing on the PATH but `folder`."""
    env = {"PATH": str(folder), **variables}
    return subprocess.run(
        ["/bin/sh", ROOT / "tools" / "find_python.sh"], env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def machine(tmp_path) -> Path:
    (tmp_path / "id").symlink_to("/usr/bin/id")
    return tmp_path


def pretend(folder: Path, name: str, version: str, venv: bool = True) -> Path:
    """A Python as far as find_python.sh asks: its version, and whether it can make virtual environments."""
    path = folder / name
    path.write_text(f'#!/bin/sh\ncase "$2" in *ensurepip*) exit {0 if venv else 1};; *) echo {version};; esac\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_newest_fitting_python_is_taken_and_broken_shims_are_passed_over(machine):
    shim = machine / "python3.12"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(0o755)
    expected = pretend(machine, "python3.11", "3.11")
    pretend(machine, "python3.10", "3.10")
    pretend(machine, "python3", "3.13")
    done = find_python(machine)
    assert (done.returncode, done.stdout.strip()) == (0, str(expected))


def test_without_a_fitting_python_the_one_that_is_there_is_named(machine):
    pretend(machine, "python3", "3.13")
    done = find_python(machine)
    assert done.returncode == 1
    assert "python3 is 3.13" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert done.stdout == ""


def test_a_python_without_venv_names_the_package_of_its_version(machine):
    pretend(machine, "python3", "3.12", venv=False)
    done = find_python(machine)
    assert done.returncode == 1
    assert "apt-get install python3.12-venv" in done.stderr


def test_a_python_named_by_hand_is_the_only_one_considered(machine):
    pretend(machine, "python3.11", "3.11")
    old = pretend(machine, "old", "3.9")
    done = find_python(machine, PYTHON=str(old))
    assert done.returncode == 1
    assert "is 3.9" in done.stderr
    mine = pretend(machine, "mine", "3.10")
    assert find_python(machine, PYTHON=str(mine)).stdout.strip() == str(mine)


@pytest.mark.skipif(os.name != "posix", reason="shell")
def test_the_continuous_integration_calls_what_a_person_calls():
    script = (ROOT / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    assert "make test" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
