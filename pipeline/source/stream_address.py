"""The address of a stream: what of it may be shown, and whether its host answers."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_VALUES = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s)]*")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


def is_address(text: str) -> bool:
    """Whether this is a URL and not the name of a file."""
    return bool(_SCHEME.match(text))


def redacted(text: str) -> str:
    """The text without user names, passwords and the values of query parameters (which may be tokens)."""
    return _VALUES.sub(r"\1=***", _USER.sub("", text))


def reachable(url: str, timeout: float = 0.5) -> bool | None:
    """Whether the host accepts TCP connections; None for protocols of which that says nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.lower())
        host = parts.hostname
    except ValueError:
        return None
    if port is None or not host or parts.scheme.lower() not in _PORTS:
        return None
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError:
        return False
    return True
