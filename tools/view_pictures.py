"""The pictures of the viewers in docs/: each viewer runs for real on the rendered actor, and its screen is kept.

    python tools/view_pictures.py [window] [open3d] [rerun]

Needs Xvfb, xdotool and xwd, chromium for rerun, and the extras open3d and rerun. On a quiet machine, since the age of
the picture is part of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "pipeline" / "view"), str(ROOT / "benchmarks")]

from browser import Browser  # noqa: E402
from live_latency import filmed  # noqa: E402

DOCS = ROOT / "docs"
SETTLED = 6.0  # seconds of pictures before the screen is kept


def repeated(path: Path, times: int) -> Path:
    """The film so many times over, its packets copied: rendering minutes of it would take minutes."""
    made = path.with_name("long.mp4")
    with av.open(str(made), "w") as out:
        stream, zero = None, 0
        for _ in range(times):
            with av.open(str(path)) as film:
                stream = stream or out.add_stream_from_template(film.streams.video[0])
                end = 0
                for packet in film.demux(video=0):
                    if packet.dts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + zero, packet.dts + zero, stream
                        end = max(end, packet.pts + packet.duration)
                        out.mux(packet)
                zero = end
    return made


class Run:
    """demo/webcam.py on a film, and what it says; `view` as in --view."""

    def __init__(self, film: Path, view: str, **environment: str) -> None:
        command = [sys.executable, str(ROOT / "demo" / "webcam.py"), str(film), "--view", view]
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        self._lines.extend(iter(self._process.stderr.readline, ""))

    def said(self, pattern: str, seconds: float = 120.0) -> str:
        """The first match in what it said so far or says within `seconds`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = re.search(pattern, "".join(self._lines))
            if found:
                return found[0]
            time.sleep(0.2)
        raise TimeoutError(f"it never said {pattern}")

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)


@contextmanager
def screen(width: int, height: int) -> Iterator[str]:
    read, write = os.pipe()
    size = f"{width}x{height}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", size], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    try:
        yield f":{number}"
    finally:
        server.terminate()
        server.wait()


def shot(display: str) -> np.ndarray:
    """(h, w, 3) uint8 BGR of the screen, from xwd's header: its size, the colour map's, the picture's."""
    dump = subprocess.run(
        ["xwd", "-silent", "-root"], env={**os.environ, "DISPLAY": display}, stdout=subprocess.PIPE, check=True
    ).stdout
    header = np.frombuffer(dump[:100], ">u4").astype(int)
    start, width, height, pixel, line = header[0] + header[19] * 12, header[4], header[5], header[11] // 8, header[12]
    rows = np.frombuffer(dump, np.uint8, height * line, start).reshape(height, line)
    return rows[:, : pixel * width].reshape(height, width, pixel)[..., :3].copy()


def window(film: Path) -> None:
    with screen(1600, 600) as display, Run(film, "window", DISPLAY=display) as run:
        run.said(r"captured [1-9]")
        time.sleep(SETTLED)
        _keep("view_window.jpg", shot(display))


def open3d(film: Path) -> None:
    with screen(1280, 800) as display, Run(film, "open3d", DISPLAY=display) as run:
        run.said(r"captured [1-9]")
        time.sleep(SETTLED)
        mouse = ["search", "--name", "posepipe", "windowmove", "0", "0", "mousemove", "640", "400", "mousedown", "1"]
        for x in range(650, 760, 10):
            mouse += ["mousemove", str(x), str(400 + (x - 650) // 4), "sleep", "0.1"]
        subprocess.run(["xdotool", *mouse, "mouseup", "1"], env={**os.environ, "DISPLAY": display}, check=True)
        time.sleep(2.0)
        _keep("view_open3d.png", shot(display))


def rerun(film: Path) -> None:
    with (
        Run(film, "rerun") as run,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        Browser(Path(home), 1280, 720) as browser,
    ):
        address = run.said(r"http://127\S+")
        run.said(r"captured [1-9]")
        browser.go(address)
        until = time.monotonic() + 10 * SETTLED
        while time.monotonic() < until:
            time.sleep(SETTLED)
            picture = browser.picture()
        _keep("view_rerun.jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def _keep(name: str, picture: np.ndarray) -> None:
    quality = (cv2.IMWRITE_JPEG_QUALITY, 88) if name.endswith(".jpg") else (cv2.IMWRITE_PNG_COMPRESSION, 9)
    cv2.imwrite(str(DOCS / name), picture, quality)
    print(f"{name}: {picture.shape[1]} x {picture.shape[0]}, {(DOCS / name).stat().st_size / 1000:.0f} kB", flush=True)


def main() -> None:
    kinds = {"window": window, "open3d": open3d, "rerun": rerun}
    with tempfile.TemporaryDirectory() as folder:
        film = repeated(filmed(folder), 30)
        for name in sys.argv[1:] or kinds:
            kinds[name](film)


if __name__ == "__main__":
    main()
