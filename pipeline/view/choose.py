"""`--view`: from a name to a viewer."""

from __future__ import annotations

import importlib
from pathlib import Path

from posepipe.errors import MissingDependencyError, UsageError
from posepipe.pipeline.live.wanted import VIEWS
from posepipe.pipeline.view.beside import Beside
from posepipe.pipeline.view.display import display_problem
from posepipe.pipeline.view.none import NoViewer
from posepipe.pipeline.view.protocol import Viewer

# name -> (module, class, what installs its libraries)
_VIEWERS = {
    "window": ("posepipe.pipeline.view.window", "WindowViewer", "pip install opencv-python"),
    "open3d": ("posepipe.pipeline.view.open3d_scene", "Open3DViewer", "pip install 'posepipe[open3d]'"),
    "rerun": ("posepipe.pipeline.view.rerun_page", "RerunViewer", "pip install 'posepipe[rerun]'"),
}


def saved_beside(viewer: Viewer, path: Path | None) -> Viewer:
    """The viewer, and with a path also `--save`: the same frames in a file for Rerun.

    Raises UsageError for another kind of file and MissingDependencyError when Rerun's library is missing."""
    if path is None:
        return viewer
    if path.suffix != ".rrd":
        raise UsageError(f"--save writes Rerun's files, not '{path.name}'.", "Give it a name that ends in .rrd.")
    try:
        from posepipe.pipeline.view.rerun_page import RerunFile
    except ImportError as error:
        raise MissingDependencyError(
            f"--save needs a library that is missing ({error}).", f"Run: {_VIEWERS['rerun'][2]}"
        ) from None
    return Beside(viewer, RerunFile(path))


def choose_viewer(name: str) -> tuple[Viewer, str]:
    """The viewer, not opened yet, and one line for the person: that `auto` had to settle for less, or which page to
    open ("" otherwise).

    auto: the window where there is a screen, none elsewhere. Raises UsageError for an unknown name and
    MissingDependencyError when the viewer's library is missing."""
    if name == "auto":
        problem = display_problem()
        if problem:
            return NoViewer(), f"There is no window ({problem}); --view none it is. Counters follow every 5 s."
        name = "window"
    if name == "none":
        return NoViewer(), ""
    if name not in _VIEWERS:
        raise UsageError(f"There is no view '{name}'.", f"Known: {', '.join(VIEWS)}.")
    module, kind, install = _VIEWERS[name]
    try:
        viewer: Viewer = getattr(importlib.import_module(module), kind)()
    except ImportError as error:
        raise MissingDependencyError(
            f"--view {name} needs a library that is missing ({error}).", f"Run: {install}"
        ) from None
    return viewer, str(getattr(viewer, "remark", ""))
