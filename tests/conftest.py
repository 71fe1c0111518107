"""For all tests: Ctrl-C is heard, by them and by the processes that they start; those do not outlive their test."""

import signal
import subprocess

import pytest


def pytest_configure() -> None:
    # A shell starts what it puts into the background deaf to SIGINT, and so are that one's children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def start():
    """start(command, **of_popen): a process that is killed after the test if it is still there."""
    started: list[subprocess.Popen] = []

    def begin(command: list[str], **of_popen) -> subprocess.Popen:
        started.append(subprocess.Popen(command, **of_popen))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
