"""The crew of a batch on a Ray cluster: one actor per so many cores, or per GPU, each with one video at a time.

What a cluster adds to processes of one machine: nodes come and go, so a video whose worker died is given to another
one; process numbers say nothing, so half-written files are known by their video; a node may lack the folders or have
other weights, which is noticed before it works. Results, manifest and resuming are those of every crew.
"""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posepipe.errors import InputError, MissingDependencyError, PosepipeError, UsageError
from posepipe.pipeline.batch_crew import ONE_THREAD, usable_cores
from posepipe.pipeline.batch_leftovers import remove_leftovers_of
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_settings import absolute, settings_hash
from posepipe.pipeline.batch_state import Running
from posepipe.pipeline.batch_worker import Progress, failure, keep_to, work_on
from posepipe.pipeline.manifest import Entry
from posepipe.pipeline.settings import RunSettings

ATTEMPTS = 3  # a video that ends its worker as often as this is what ends it
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_STORE_BYTES = 100 << 20  # of Ray's shared memory; only paths and entries travel
SAME_EVERYWHERE = "A cluster needs FOLDER and DIR on storage that every node mounts under the same path."


@dataclass(frozen=True)
class Refusal:
    """A node cannot work on this batch at all. missing: it does not see this path."""

    reason: str
    missing: Path | None = None


class RayWorker:
    """The actor. Ray calls `work` and, meanwhile from another thread, `told`."""

    def __init__(self, out: Path, settings: RunSettings, settings_sha256: str, cores: int, token: Path) -> None:
        self._given, self._cores, self._token = (out, settings, settings_sha256), cores, token
        self._name = f"{os.uname().nodename} {os.getpid()}"
        self._progress = Progress()
        self._checked = False

    def told(self) -> tuple[str, Progress]:
        return self._name, self._progress

    def work(self, item: WorkItem) -> Entry | Refusal:
        self._progress = Progress()
        refusal = None if self._checked else self._check()
        if refusal:
            return refusal
        self._checked = True
        if not item.source.exists():
            return Refusal(f"{self._name} does not see {item.source}. {SAME_EVERYWHERE}", item.source)
        return work_on(item, *self._given, self._cores, self._tell)

    def _tell(self, progress: Progress) -> None:
        self._progress = progress

    def _check(self) -> Refusal | None:
        _, settings, expected = self._given
        if not self._token.exists():
            return Refusal(f"{self._name} does not see {self._token.parent}. {SAME_EVERYWHERE}")
        keep_to(self._cores)
        try:
            same = settings_hash(settings) == expected
        except PosepipeError as error:
            return Refusal(f"{self._name} cannot work: {error}")
        if not same:
            return Refusal(
                f"{self._name} would give other results: its posepipe, weights or backend differ. "
                "Install the same everywhere, and choose with --backend what every node has."
            )
        return None


@dataclass
class _Hired:
    actor: Any
    name: str = "starting"
    item: WorkItem | None = None
    answer: Any = None
    told: Any = None
    progress: Progress = Progress()  # noqa: RUF009 - frozen
    began: float = 0.0

    @property
    def started(self) -> bool:
        return self.name != "starting"


class RayCrew:
    """cores: of each worker. gpu: each has a GPU to itself. address: of a cluster that runs (None: one of this machine
    alone, ended with the crew). jobs: at most so many workers; None takes as many as fit.

    Raises MissingDependencyError without Ray; begin() raises InputError where no node can work."""

    def __init__(
        self,
        out: Path,
        settings: RunSettings,
        settings_sha256: str,
        *,
        cores: int = 2,
        gpu: bool = False,
        address: str | None = None,
        jobs: int | None = None,
    ) -> None:
        self._ray = _import_ray(address)
        self._address, self._cores, self._gpu, self._jobs = address, cores, gpu, jobs
        self._out = Path(os.path.abspath(out))
        self._token = self._out / f".posepipe-{secrets.token_hex(8)}"
        self._given = (self._out, absolute(settings), settings_sha256, cores, self._token)
        self._hired: list[_Hired] = []
        self._queue: deque[WorkItem] = deque()
        self._attempts: Counter[str] = Counter()
        self._items: list[WorkItem] = []
        self._seen: dict[str, WorkItem] = {}  # by name, as the batch knows it: its paths may be relative
        self._capacity, self._looked, self._idle_since = 0, 0.0, time.monotonic()
        self._connected = False

    def begin(self, items: Sequence[WorkItem]) -> None:
        self._items = list(items)
        self._connect()
        for item in items:
            remove_leftovers_of(item)
        self._token.write_bytes(b"")
        self._look(now=True)
        if not self._capacity:
            raise InputError(
                f"No node of the cluster has {self._wants}.",
                "Give fewer --cores-per-worker, or start nodes with more: ray start --address=... --num-cpus=N.",
            )
        resources = {"num_gpus": 1, "num_cpus": self._cores} if self._gpu else {"num_cpus": self._cores}
        self._actor = self._ray.remote(max_restarts=0, max_concurrency=2, **resources)(RayWorker)
        self._idle_since = time.monotonic()

    @property
    def _wants(self) -> str:
        return f"{self._cores} core{'s' * (self._cores > 1)}{' and a GPU' * self._gpu} for a worker"

    def _connect(self) -> None:
        local = {"address": "local", "num_cpus": usable_cores(), "include_dashboard": False}
        # One thread each for libraries that would otherwise start one per core; it is also part of what makes results
        # the same as those of local processes.
        more = {"runtime_env": {"env_vars": dict.fromkeys(ONE_THREAD, "1")}, "log_to_driver": False}
        where = {"address": self._address} if self._address else {**local, "object_store_memory": _STORE_BYTES}
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._ray.init(**where, **more, configure_logging=False)
        except Exception as error:  # noqa: BLE001 - Ray has a kind of its own for every step that may fail
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"Cannot reach the Ray cluster {self._address or 'of this machine'} ({reason}).",
                "Is it running (ray status), and are Ray and Python of the same versions?",
            ) from None
        finally:
            for number, handler in handlers.items():  # Ray puts its own in their place
                signal.signal(number, handler)
        self._connected = True

    def places(self) -> int:
        self._look()
        limit = self._capacity if self._jobs is None else min(self._jobs, self._capacity)
        return limit - sum(h.item is not None for h in self._hired) - len(self._queue)

    def running(self) -> tuple[Running, ...]:
        return tuple(Running(h.name, self._seen[h.item.name], h.progress) for h in self._hired if h.item)

    def give(self, item: WorkItem) -> None:
        self._seen[item.name] = item
        self._queue.append(replace(item, source=_abs(item.source), folder=_abs(item.folder)))
        self._assign()

    def _assign(self) -> None:
        """Videos that wait go to workers that do not, and to new ones while there is room for them."""
        while self._queue:
            idle = [h for h in self._hired if not h.item]
            if not idle and len(self._hired) >= self._capacity:
                return
            worker = idle[0] if idle else self._hire()
            item = self._queue.popleft()
            worker.item, worker.progress, worker.began = item, Progress(), time.perf_counter()
            worker.answer = worker.actor.work.remote(item)
            worker.told = worker.told or worker.actor.told.remote()

    def _hire(self) -> _Hired:
        self._hired.append(_Hired(self._actor.remote(*self._given)))
        return self._hired[-1]

    def answers(self, seconds: float) -> list[tuple[WorkItem, Entry]]:
        waiting = {h.answer: h for h in self._hired if h.item}
        if waiting:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > _PATIENCE_SECONDS:
            raise InputError(
                f"No node of the cluster has had {self._wants} for a minute.", "Start nodes, then --resume."
            )
        if not waiting:
            time.sleep(seconds)
        ready, _ = self._ray.wait(list(waiting), timeout=seconds) if waiting else ([], [])
        ended = []
        for reference in ready:
            worker = waiting[reference]
            entry = self._ended(worker)
            if entry:
                ended.append(entry)
        self._look()
        self._assign()
        return ended

    def _ended(self, worker: _Hired) -> tuple[WorkItem, Entry] | None:
        """What became of a worker's video; None when it will be done again."""
        item = worker.item
        assert item
        known = self._seen[item.name]
        try:
            answer = self._ray.get(worker.answer)
        except self._ray.exceptions.RayError as error:
            self._hired.remove(worker)
            self._kill(worker)
            remove_leftovers_of(item)
            self._attempts[item.name] += 1
            if self._attempts[item.name] < ATTEMPTS:
                self._queue.appendleft(item)
                return None
            how = f"ended or lost the worker that had it {ATTEMPTS} times, on {worker.name} the last one"
            reason = f"The video {how} ({_first_line(error)}). Try it alone: posepipe run."
            return known, failure(item, self._given[2], reason, round(time.perf_counter() - worker.began, 3))
        if isinstance(answer, Refusal):
            if answer.missing and not answer.missing.exists():  # it is gone here, too
                answer = failure(item, self._given[2], f"{item.source} does not exist any more. Check the path.")
            else:
                raise InputError(answer.reason)
        worker.item = worker.answer = None
        return known, answer

    def _look(self, now: bool = False) -> None:
        """Once a second: what room the nodes have, and how far the workers are."""
        if not now and time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            self._capacity = sum(self._room(n["Resources"]) for n in self._ray.nodes() if n["Alive"])
        except Exception:  # the head is too busy to answer in time; it is asked again in a second
            if now:
                raise
        for worker in self._hired:
            if worker.told is None:
                continue
            ready, _ = self._ray.wait([worker.told], timeout=0)
            if ready:
                with suppress(self._ray.exceptions.RayError):  # its answer tells
                    worker.name, worker.progress = self._ray.get(worker.told)
                worker.told = worker.actor.told.remote() if worker.item else None
        self._dismiss()

    def _room(self, resources: dict[str, float]) -> int:
        room = resources.get("CPU", 0) // self._cores
        return int(min(room, resources.get("GPU", 0)) if self._gpu else room)

    def _dismiss(self) -> None:
        """Workers that wait for room which is not there (a node is gone, or others use it) give their video back when
        somebody else could take it."""
        waiting = [h for h in self._hired if h.item and not h.started]
        idle = sum(not h.item for h in self._hired)
        for worker in waiting[: max(idle, len(self._hired) - self._capacity)]:
            assert worker.item
            self._hired.remove(worker)
            self._kill(worker)
            self._queue.appendleft(worker.item)

    def _kill(self, worker: _Hired) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.kill(worker.actor)

    def end(self) -> None:
        for worker in self._hired:
            self._kill(worker)
        with suppress(OSError):
            self._token.unlink(missing_ok=True)
        if self._connected:
            with suppress(Exception):  # a cluster that is gone cannot be left
                self._ray.shutdown()
        for item in self._items:
            remove_leftovers_of(item)


def _import_ray(address: str | None) -> Any:
    """Ray, told to keep to itself. Its own flags are read when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None or address.startswith(("127.", "localhost")):
        # Ray replaces 127.0.0.1 by the machine's address in the network and listens there, unless it thinks that it
        # runs on a desktop system.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingDependencyError(
            f"--engine ray needs Ray, which does not load ({error}).", "Run: pip install 'posepipe[ray]'"
        ) from None


def check_options(cores: int) -> None:
    """UsageError for what cannot work."""
    if cores < 1:
        raise UsageError(f"--cores-per-worker {cores} leaves nothing to work with.", "Give 1 or more.")


def _abs(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
