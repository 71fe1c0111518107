"""MMPose as a detector: a process of its own (pipeline/detect/mmpose_worker), asked over a pipe.

MMPose does not fit into posepipe's environment without breaking something (docs/design.md, "Detectors"), and need not:
whatever Python has it is used, and neither its torch nor its crashes are ours.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posepipe.errors import EngineError, MissingDependencyError

PYTHON_VARIABLE = "POSEPIPE_MMPOSE_PYTHON"
HINT = f"Install it with the command in docs/detectors.md, or name a Python that has it in {PYTHON_VARIABLE}."
_START_SECONDS = 1800.0  # weights may have to be fetched
_ANSWER_SECONDS = 120.0


def own_environment() -> Path:
    """Where docs/detectors.md puts MMPose: ~/.cache/posepipe/mmpose, or under XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posepipe" / "mmpose"


def find_python() -> Path | None:
    """The Python that has MMPose: the one named by POSEPIPE_MMPOSE_PYTHON, this one, or that of `own_environment`."""
    named = os.environ.get(PYTHON_VARIABLE)
    if named:
        return Path(named)
    if find_spec("mmpose") is not None:
        return Path(sys.executable)
    own = own_environment() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return own if own.is_file() else None


class MmposeProcess:
    """A running MMPose with one network. model: name, alias or path of a configuration. weights: file, "random", or
    None for the published ones. people: also load a detector of people (RTMDet, or person_model); "try": if it can be
    had, `note` says why not.

    `poses` is an Estimator's, `find` a Find. Raises MissingDependencyError without MMPose; EngineError, with MMPose's
    own words, for a model or weights that it refuses and when it ends or hangs."""

    skeleton = "coco17"

    def __init__(
        self,
        model: str,
        weights: str | None = None,
        people: bool | str = False,
        person_weights: str | None = None,
        person_model: str | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        asked = {
            "model": model,
            "weights": weights,
            "people": people,
            "person_model": person_model,
            "person_weights": person_weights,
        }
        try:
            self._process = subprocess.Popen(
                [*(command or _command()), json.dumps(asked)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C is for us; the worker ends with its input
            )
        except OSError as error:
            self._log.close()
            raise MissingDependencyError(f"MMPose's Python does not start ({error}).", HINT) from None
        self._sent: NDArray[np.uint8] | None = None
        try:
            hello = self._answer(_START_SECONDS)
            self.device, self.note = str(hello["device"]), str(hello["note"])
            self.finds_people = bool(hello["people"])
        except BaseException:
            self.close()
            raise

    def poses(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints (N, 17, 2) pixels and scores (N, 17), in COCO's order, of the people in boxes (N, 4)."""
        self._show(image)
        self._ask({"op": "poses", "boxes": boxes.tolist()})
        found = self._answer(_ANSWER_SECONDS)
        keypoints = np.array(found["keypoints"], np.float32).reshape(-1, 17, 2)
        return keypoints, np.array(found["scores"], np.float32).reshape(-1, 17)

    def find(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Boxes (N, 4) of the people in a picture; needs people=True."""
        self._show(image)
        self._ask({"op": "people"})
        return np.array(self._answer(_ANSWER_SECONDS)["boxes"], np.float32).reshape(-1, 5)[:, :4]

    def close(self) -> None:
        """End the process; a second time does nothing."""
        process = self._process
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        for end in (lambda: None, process.terminate, process.kill):
            end()
            try:
                process.wait(5)
                break
            except subprocess.TimeoutExpired:
                continue
        if process.stdout is not None:
            process.stdout.close()
        self._sent = None
        self._log.close()

    def _show(self, image: NDArray[np.uint8]) -> None:
        if self._sent is image:
            return
        self._ask({"op": "frame", "shape": image.shape}, np.ascontiguousarray(image).tobytes())
        self._sent = image

    def _ask(self, request: dict[str, Any], data: bytes = b"") -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n" + data)
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise self._ended() from None

    def _answer(self, seconds: float) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds)[0]:
            raise EngineError(f"MMPose gave no answer for {seconds:.0f} s.", "Is the machine overloaded?")
        line = out.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(answer["error"], answer.get("fix", ""))
        return answer

    def _ended(self) -> EngineError:
        self._log.seek(0)
        said = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return EngineError(
            f"MMPose has ended ({said[-1] if said else 'without a word'}).", "Is it complete? See docs/detectors.md."
        )


def _command() -> list[str]:
    python = find_python()
    if python is None:
        raise MissingDependencyError("MMPose is not installed.", HINT)
    return [str(python), str(Path(__file__).parent / "mmpose_worker")]
