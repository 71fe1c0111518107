"""Create .venv and install posepipe into it, once. Standard library only: it runs before anything is installed.

    python tools/install.py runtime    # what `posepipe run` needs; no torch
    python tools/install.py dev        # and torch, exporters, linters, tests

A stamp in .venv remembers what was installed (hash of pyproject.toml, this folder, the Python); while it fits, nothing
is installed and pip is not even started, so the second time needs no network.

torch: the wheels on PyPI bring CUDA along on Linux, gigabytes that a machine without an NVIDIA GPU cannot use. So there
the CPU build is taken wherever it is offered: first by the indexes that pip is configured with, then by PyTorch's own
CPU index. TORCH=cpu or TORCH=cuda decides by hand.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = ("--timeout", "15", "--retries", "1")
INCLUDES = {"runtime": ("runtime",), "dev": ("runtime", "dev")}


def say(text: str) -> None:
    print(f"· {text}", flush=True)


def runs(*command: str | Path) -> bool:
    """The command exists and succeeds."""
    try:
        return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def key() -> str:
    """What an installation depends on; another key means: install again."""
    parts = ((ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode(), (VENV / "pyvenv.cfg").read_bytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed(what: str) -> bool:
    stamp = VENV / f"posepipe-{what}.stamp"
    return stamp.is_file() and stamp.read_text() == key() and runs(PYTHON, "-c", "import posepipe")


def make_venv() -> None:
    if runs(PYTHON, "-m", "pip", "--version"):
        return
    broken = VENV.exists()
    say(f"{'repairing' if broken else 'creating'} .venv (Python {sys.version.split()[0]})")
    subprocess.run([sys.executable, "-m", "venv", *(["--clear"] if broken else []), str(VENV)], check=True)


def pip(*arguments: str, quiet: bool = False) -> bool:
    """pip install in .venv; quiet: an attempt whose failure is no news."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", *arguments]
    if not sys.stdout.isatty():
        command[4:4] = ["--quiet", "--quiet"]  # in a log neither progress bars nor an index's small talk: errors only
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=quiet).returncode == 0


def torch_pin() -> str:
    """The torch version that pyproject.toml asks for."""
    match = re.search(r'"torch==([0-9.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if match is None:
        raise SystemExit("pyproject.toml pins no torch version.")
    return match[1]


def wants_cpu_torch() -> bool:
    """On Linux without an NVIDIA driver, unless TORCH says otherwise (elsewhere PyPI's wheels hold no CUDA)."""
    choice = os.environ.get("TORCH", "auto")
    if choice not in ("auto", "cpu", "cuda"):
        raise SystemExit(f"TORCH={choice} is not known: use cpu, cuda or auto.")
    if choice != "auto":
        return choice == "cpu"
    return sys.platform == "linux" and not Path("/proc/driver/nvidia/version").exists() and not find_smi()


def find_smi() -> bool:
    return shutil.which("nvidia-smi") is not None and runs("nvidia-smi", "-L")


def install_cpu_torch() -> None:
    """Put torch's CPU build into .venv, so that the plain requirement is already met. --no-deps: one look-up, which a
    dead index cannot make long; torch's own requirements come with the installation that follows."""
    pin = torch_pin()
    check = f"from importlib.metadata import version; raise SystemExit(version('torch').split('+')[0] != '{pin}')"
    if runs(PYTHON, "-c", check):
        return
    say(f"torch {pin}, CPU build")
    wanted = ("--no-deps", *PATIENCE, f"torch=={pin}+cpu")
    if pip(*wanted, quiet=True) or pip("--extra-index-url", CPU_INDEX, *wanted, quiet=True):
        return
    say(f"no CPU build of torch {pin} is within reach ({CPU_INDEX}): taking the plain one, which may bring CUDA")


def megabytes() -> int:
    files = (os.lstat(os.path.join(folder, name)) for folder, _, names in os.walk(VENV) for name in names)
    return sum(file.st_blocks for file in files) * 512 // 1_000_000


def main(what: str) -> int:
    if installed(what):
        say(f".venv is up to date ({what})")
        return 0
    started = time.monotonic()
    make_venv()
    if what == "dev" and wants_cpu_torch():
        install_cpu_torch()
    say(f"installing posepipe ({what}) into .venv; the first time takes a few minutes")
    if not pip("--editable", ".[dev]" if what == "dev" else "."):
        print(
            f"pip could not install posepipe ({what}), see above. Check the network and `.venv/bin/pip config list`, "
            "then run the same command again; what was downloaded is kept.",
            file=sys.stderr,
        )
        return 1
    for part in INCLUDES[what]:
        (VENV / f"posepipe-{part}.stamp").write_text(key())
    say(f"installed in {time.monotonic() - started:.0f} s, .venv now takes {megabytes()} MB")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in INCLUDES:
        raise SystemExit(f"usage: {sys.argv[0]} runtime|dev")
    raise SystemExit(main(sys.argv[1]))
