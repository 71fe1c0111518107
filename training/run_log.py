"""Where the numbers of a run go: a text file beside the state, one JSON line per entry, and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from posepipe.errors import MissingDependencyError, OutputError
from posepipe.training.run_config import RunConfig
from posepipe.training.session import Session


class RunLog:
    """<state>.jsonl has {"step", values...} as exact numbers and no times, so that two runs can be compared byte by
    byte; a resumed run first drops what came after its state. Only the first device writes."""

    def __init__(self, session: Session, config: RunConfig, start: int) -> None:
        self._file: IO[str] | None = None
        self._board: Any = None
        if session.rank:
            return
        path = log_path(session.state)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(path) if json.loads(line)["step"] < start] if start else []
            path.write_text("".join(kept), encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"Cannot write {path} ({error.strerror}).", "Give another --state FILE.") from None
        if config.log_dir:
            self._board = _board(config.log_dir, start)

    def write(self, step: int, values: Mapping[str, float], samples_per_second: float | None = None) -> None:
        """One entry; what it says is on disk (in the system's cache) when this returns."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {self._file.name} ({error.strerror}).", "Free some space.") from None
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            if samples_per_second is not None:
                self._board.add_scalar("samples_per_second", samples_per_second, step)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()


def log_path(state: Path) -> Path:
    """The text file of the run whose state this is."""
    return state.with_suffix(".jsonl")


def _lines(path: Path) -> list[str]:
    """Complete lines; what a killed process left of its last one is not."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _board(folder: str, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            f"Logs for TensorBoard need {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    return SummaryWriter(folder, purge_step=start or None)
