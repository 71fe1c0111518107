"""A headless Chromium for tests, spoken to over a pipe (its DevTools protocol), so that nothing listens anywhere.

WebGL is drawn by SwiftShader on the processor: slow, but pixels like any other.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
)


class Browser:
    """One page of `width` x `height` pixels. asked: the addresses that it wanted; refused: those of them that the
    page's own Content-Security-Policy kept it from."""

    def __init__(self, home: Path, width: int = 1280, height: int = 720) -> None:
        self.asked: dict[str, str] = {}
        self._refused: set[str] = set()
        self._last, self._buffer = 0, b""
        to_us, from_browser = os.pipe()
        to_browser, from_us = os.pipe()
        # Chromium reads commands from descriptor 3 and writes answers to 4.
        command = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", str(PROGRAM)]
        self._process = subprocess.Popen(
            [*command, *_FLAGS, f"--window-size={width},{height}", f"--user-data-dir={home}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._in, self._out = to_us, from_us
        target = self._page()
        self._session: dict[str, str] = {}
        self._session = {"sessionId": self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self._ask("Network.enable")
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def go(self, address: str) -> None:
        self._ask("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    def drag(self, start: tuple[int, int], end: tuple[int, int], steps: int = 8) -> None:
        """Press the left button at one pixel, move, and let it go at another."""
        self._mouse("mousePressed", start, 1)
        for step in range(1, steps + 1):
            at = tuple(round(a + (b - a) * step / steps) for a, b in zip(start, end, strict=True))
            self._mouse("mouseMoved", at, 1)
            time.sleep(0.05)
        self._mouse("mouseReleased", end, 0)

    def picture(self) -> np.ndarray:
        """(height, width, 3) uint8 RGB of the page."""
        until = time.monotonic() + 60
        while True:
            try:
                coded = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
                break
            except RuntimeError:  # between two pages
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._out)  # Chromium ends when nobody can command it any more
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def _page(self) -> str:
        """The page that Chromium opens by itself, which may take a moment."""
        until = time.monotonic() + 30
        while True:
            for target in self._ask("Target.getTargets")["targetInfos"]:
                if target["type"] == "page":
                    return target["targetId"]
            if time.monotonic() > until:
                raise TimeoutError("the browser opened no page")
            time.sleep(0.1)

    def _mouse(self, kind: str, at: tuple[int, ...], buttons: int) -> None:
        self._ask("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", buttons=buttons, clickCount=1)

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        session = getattr(self, "_session", {})
        message = {"id": self._last, "method": method, "params": params, **session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            answer = self._next(until)
            self._note(answer.get("method"), answer.get("params", {}))
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _note(self, event: str | None, about: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked[about["requestId"]] = about["request"]["url"]
        if event == "Network.loadingFailed" and about.get("blockedReason") == "csp":
            self._refused.add(about["requestId"])

    @property
    def refused(self) -> set[str]:
        return {self.asked[request] for request in self._refused if request in self.asked}

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(until - time.monotonic(), 0))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self._in, 1 << 20)
            if not part:
                raise ConnectionError("the browser is gone")
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)
