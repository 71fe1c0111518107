"""Tables that benchmarks write into the documentation: between `<!-- NAME -->` and `<!-- /NAME -->`."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def put(page: str, name: str, text: str) -> None:
    """Replace what stands between the marks of `name` in docs/page. Raises ValueError where there are none."""
    path = DOCS / page
    old = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.S)
    if not pattern.search(old):
        raise ValueError(f"{path} has no place for '{name}'")
    path.write_text(pattern.sub(lambda m: f"{m[1]}{text.strip()}\n{m[2]}", old), encoding="utf-8")
