"""Is there a screen to open a window on? Asked before Qt is, which ends the whole program when there is none."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

_CONNECT_SECONDS = 1.0


def display_problem(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> str:
    """Why no window can be opened, as the end of a sentence; "" when one can."""
    if not platform.startswith("linux"):
        return ""
    display = environment.get("DISPLAY", "")
    if not display:
        # OpenCV's Qt has no Wayland plugin, but Wayland desktops start an X server and set DISPLAY.
        return "DISPLAY is not set"
    return "" if _answers(display) else f"no X server answers at DISPLAY={display}"


def _answers(display: str) -> bool:
    """Whether the X server of `[host]:number[.screen]` accepts connections."""
    host, _, rest = display.rpartition(":")
    number = rest.split(".")[0]
    if not number.isdecimal():
        return Path(display).exists()  # macOS' XQuartz names a socket; anything else is nonsense
    try:
        if host in ("", "unix"):
            return any(_unix(address) for address in (f"\0/tmp/.X11-unix/X{number}", f"/tmp/.X11-unix/X{number}"))
        socket.create_connection((host, 6000 + int(number)), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _unix(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_CONNECT_SECONDS)
        try:
            link.connect(address)
        except OSError:
            return False
    return True
