"""Make .typing/posepipe: the package as it is imported, out of links to the folders where its rooms really are.

    python tools/typing_links.py

mypy and import-linter look for packages by path and know nothing of the mapping in pyproject.toml.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent


def make_links(root: Path, links: Path) -> Path:
    """Make links/posepipe anew, so that no link to a removed file stays; returns links (to put on a search path)."""
    mapping = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    package = links / "posepipe"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for file in (root / mapping["posepipe"]).iterdir():
        if file.suffix == ".py" or file.name == "py.typed":
            (package / file.name).symlink_to(file)
    for name, folder in mapping.items():
        if name != "posepipe":
            (package / name.removeprefix("posepipe.")).symlink_to(root / folder, target_is_directory=True)
    return links


if __name__ == "__main__":
    make_links(ROOT, ROOT / ".typing")
