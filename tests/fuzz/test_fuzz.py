"""A few damaged files of every kind through every reader, the same ones each time. Many more: python -m tests.fuzz."""

import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]


def test_damaged_files_end_in_a_result_or_one_clear_sentence():
    """In a process of its own, since a library that crashes would end this one."""
    names = [name for name in TARGETS if name != "graph"]  # exporting one takes seconds
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", *names, "--cases", "30", "--seed", "0", "--inside"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("30 cases") == len(names)
