"""Rerun: the run in a browser, served on this machine's loopback alone, or written to a .rrd file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import rerun as rr
import rerun_cli

from posepipe.errors import MissingDependencyError
from posepipe.pipeline.sink.atomic import atomic_path, output_error
from posepipe.pipeline.view.page_server import HOST, PageServer, hidden_host
from posepipe.pipeline.view.protocol import ViewFrame
from posepipe.pipeline.view.rerun_log import FrameLog
from posepipe.pipeline.view.rrd_file import RrdFile

_PAGE = 9090  # Rerun's own port, where it is free
_START_SECONDS = 20.0
_MEMORY = "512MB"  # kept by the server for browsers that come later; the oldest goes first


class RerunViewer:
    """`--view rerun`: a server of its own in another process, so that a slow browser holds up nobody.

    remark: where to look, for the person; the server is there after open()."""

    name = "rerun"
    shows = True

    def __init__(self) -> None:
        self._page = _free_port(_PAGE)
        self.address = f"http://{HOST}:{self._page}/?url=rerun%2Bhttp://{HOST}:{self._page}/proxy"
        self.remark = f"Watch it at {self.address}"
        self._pages: PageServer | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._stack = ExitStack()
        self._stream: rr.RecordingStream | None = None
        self._log: FrameLog | None = None

    def open(self, title: str) -> None:
        home = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="posepipe-rerun-"))
        # A home of its own, in which its usage statistics are switched off.
        environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home, "APPDATA": home}
        program = Path(rerun_cli.__file__).with_name("rerun.exe" if sys.platform == "win32" else "rerun")
        quiet = {"env": environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        subprocess.run([program, "analytics", "disable"], check=False, stderr=subprocess.DEVNULL, **quiet)  # type: ignore[call-overload]
        hidden = hidden_host()
        page, data = (hidden, _free_port(0, hidden)), (hidden, _free_port(0, hidden))
        ports = ["--port", str(data[1]), "--web-viewer-port", str(page[1])]
        serve = ["--serve-web", "--bind", hidden, *ports, "--server-memory-limit", _MEMORY, "--hide-welcome-screen"]
        # A session of its own: Ctrl-C is for the run, which closes the server when it is done.
        self._server = subprocess.Popen(
            [program, *serve],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **quiet,  # type: ignore[call-overload]
        )
        until = time.monotonic() + _START_SECONDS
        while not (_answers(page) and _answers(data)):
            if self._server.poll() is not None or time.monotonic() > until:
                self.close()
                raise MissingDependencyError("Rerun's server did not start.", "Try: rerun --serve-web")
            time.sleep(0.1)
        self._pages = PageServer(self._page, page, data)
        self._stream = rr.RecordingStream(title)
        self._stream.connect_grpc(f"rerun+http://{data[0]}:{data[1]}/proxy")
        self._log = FrameLog(self._stream)

    def show(self, frame: ViewFrame) -> None:
        if self._log is not None:
            self._log.add(frame)

    def keys(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self._log = None
        if self._stream is not None:
            self._stream.disconnect()  # before its server goes
            self._stream = None
        if self._pages is not None:
            self._pages.close()
            self._pages = None
        if self._server is not None:
            self._server.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(2.0)
            self._server.kill()
            self._server.wait()
            self._server = None
        self._stack.close()


class RerunFile:
    """`--save FILE.rrd`: what is shown, as a file for Rerun; it appears under its name when the run is over.

    Raises OutputError when it cannot be written there, or the disk is full."""

    name = "rrd"
    shows = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._file: RrdFile | None = None
        self._log: FrameLog | None = None

    def open(self, title: str) -> None:
        temporary = self._stack.enter_context(atomic_path(self._path))
        self._file = RrdFile(title, temporary)
        self._log = FrameLog(self._file.stream)

    def show(self, frame: ViewFrame) -> None:
        if self._log is not None and self._file is not None:
            self._log.add(frame)
            try:
                self._file.step()
            except OSError as error:
                raise output_error(self._path, error) from error

    def keys(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        self._log = None
        file, self._file = self._file, None
        with self._stack:  # an error on the way out leaves no file
            if file is not None:
                file.close()


def _free_port(wanted: int, host: str = HOST) -> int:
    """`wanted` if nobody listens there, any other free one otherwise."""
    for port in (wanted, 0):
        with socket.socket() as trial:
            try:
                trial.bind((host, port))
            except OSError:
                continue
            return int(trial.getsockname()[1])
    raise MissingDependencyError("There is no free port for Rerun's page.", "Use --view window or none.")


def _answers(address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(address, 0.5):
        return True
    return False
