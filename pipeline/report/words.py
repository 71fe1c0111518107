"""Texts, numbers and addresses on their way into HTML. What comes from outside goes through here, without exception."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote


def text(value: object) -> str:
    """Escaped for HTML; what cannot be shown (control and direction characters, bytes that are no UTF-8) becomes ?."""
    clean = str(value).encode("utf-8", "replace").decode()
    return html.escape("".join(c if c.isprintable() else "?" for c in clean))


def link(path: Path, page: Path) -> str:
    """The address of a file as seen from the page: always a relative path, whatever the file is called."""
    return html.escape("./" + quote(os.fsencode(os.path.relpath(path, page.parent))))


def number(value: float, digits: int, unknown: str = "–") -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else unknown


def pairs_table(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr><th>{text(name)}</th><td>{text(value)}</td></tr>' for name, value in pairs)}</table>"
