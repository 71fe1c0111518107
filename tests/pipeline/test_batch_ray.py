"""A batch on a Ray cluster: workers and nodes die, and the bytes are those of a local run."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from posepipe.__main__ import main
from posepipe.errors import InputError, MissingDependencyError
from posepipe.pipeline import batch_ray, manifest
from posepipe.pipeline.batch import run_batch
from posepipe.pipeline.batch_list import WorkItem
from posepipe.pipeline.batch_ray import ATTEMPTS, RayCrew, RayWorker, Refusal
from posepipe.pipeline.batch_settings import settings_hash
from posepipe.pipeline.film import film
from posepipe.pipeline.manifest import Entry
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.source.actor import ActorScene

SETTINGS = RunSettings(overlay=False)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "in"
    folder.mkdir()
    film((ActorScene("wave", seconds=1, fps=10, width=160, height=160, fov_deg=55),), folder / "0.mp4")
    for k in range(1, 5):
        shutil.copy(folder / "0.mp4", folder / f"{k}.mp4")
    return folder


def _results(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in out.iterdir() if p.name != manifest.NAME}


# --- what a node says of itself, without Ray ---


def _worker(out: Path, digest: str) -> RayWorker:
    token = out / ".token"
    return RayWorker(out, SETTINGS, digest, 1, token)


def test_a_node_that_lacks_something_refuses_and_says_what(videos: Path, tmp_path: Path) -> None:
    item = WorkItem("0.mp4", videos / "0.mp4", tmp_path, 1)
    digest = settings_hash(SETTINGS)
    answer = _worker(tmp_path, digest).work(item)
    assert isinstance(answer, Refusal)
    assert f"does not see {tmp_path}" in answer.reason
    (tmp_path / ".token").touch()
    answer = _worker(tmp_path, "another").work(item)
    assert isinstance(answer, Refusal)
    assert "posepipe, weights or backend differ" in answer.reason
    answer = _worker(tmp_path, digest).work(WorkItem("x.mp4", videos / "x.mp4", tmp_path, 1))
    assert isinstance(answer, Refusal)
    assert answer.missing == videos / "x.mp4"
    worker = _worker(tmp_path, digest)
    answer = worker.work(item)
    assert isinstance(answer, Entry)
    assert (answer.status, answer.frames) == ("ok", 10)
    assert worker.told()[1].expected == 10


# --- the crew over a double of Ray, whose actors are threads ---


class _Died(Exception):
    """What ray.exceptions.RayError is to the crew."""


class FakeRay:
    """As much of Ray as the crew uses. answer(item, how many times it was given) plays the worker."""

    exceptions = SimpleNamespace(RayError=_Died)

    def __init__(self, answer: Any, nodes: list[dict]) -> None:
        self.answer, self.all_nodes, self.pool = answer, nodes, ThreadPoolExecutor(8)
        self.given: dict[str, int] = {}
        self.alive = self.most = self.asked = 0

    def init(self, **kwargs: Any) -> None:
        assert kwargs["address"] == "here:1"

    def nodes(self) -> list[dict]:
        self.asked += 1
        if self.asked == 2:
            raise RuntimeError("the head did not answer in time")
        return self.all_nodes

    def remote(self, **resources: Any) -> Any:
        assert resources["num_cpus"] == 2
        return lambda kind: SimpleNamespace(remote=self._actor)

    def _actor(self, *given: Any) -> Any:
        self.alive += 1
        self.most = max(self.most, self.alive)

        def work(item: WorkItem) -> Any:
            self.given[item.name] = self.given.get(item.name, 0) + 1
            return self.answer(item, self.given[item.name])

        told = SimpleNamespace(remote=lambda: self.pool.submit(lambda: ("node 1", batch_ray.Progress(1, 2, 0.1))))
        return SimpleNamespace(work=SimpleNamespace(remote=lambda item: self.pool.submit(work, item)), told=told)

    def wait(self, references: list[Future], timeout: float) -> tuple[list[Future], list[Future]]:
        done, rest = wait(references, timeout, FIRST_COMPLETED)
        return list(done), list(rest)

    def get(self, reference: Future) -> Any:
        return reference.result()

    def kill(self, actor: Any) -> None:
        self.alive -= 1

    def shutdown(self) -> None:
        self.pool.shutdown(cancel_futures=True)


def _over(ray: FakeRay, items: list[WorkItem], out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(batch_ray, "_import_ray", lambda address: ray)
    crew = RayCrew(out, SETTINGS, "digest", cores=2, address="here:1")
    return run_batch(items, out, SETTINGS, "digest", crew=crew)


def _items(out: Path, count: int) -> list[WorkItem]:
    (out / "in").mkdir(parents=True)
    items = [WorkItem(f"{k}.mp4", out / "in" / f"{k}.mp4", out, 10) for k in range(count)]
    for item in items:
        item.source.write_bytes(b"video")
    return items


def _ok(item: WorkItem) -> Entry:
    return Entry(item.name, "hash", "digest", manifest.OK, frames=3)


def _node(cores: float, alive: bool = True) -> dict:
    return {"Alive": alive, "Resources": {"CPU": cores}}


def test_a_video_whose_worker_died_is_done_by_another_and_at_last_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = _items(tmp_path, 5)
    torn = tmp_path / ".1.h5.tmp-12345"

    def answer(item: WorkItem, times: int) -> Entry:
        if item.name == "1.mp4" and times == 1:
            torn.write_bytes(b"half")
            raise _Died("the node went away")
        assert not torn.exists() or item.name != "1.mp4"
        if item.name == "3.mp4":
            time.sleep(0.6)  # so that the nodes are looked at again meanwhile
            raise _Died("segmentation fault\nand much more")
        return _ok(item)

    ray = FakeRay(answer, [_node(5), _node(1), _node(64, alive=False)])
    state = _over(ray, items, tmp_path, monkeypatch)
    assert ray.given == {"0.mp4": 1, "1.mp4": 2, "2.mp4": 1, "3.mp4": ATTEMPTS, "4.mp4": 1}
    assert ray.asked > 1
    assert ray.most <= 2  # 5 cores are room for two workers of two, 1 core for none
    entries = manifest.read(tmp_path)
    assert {n: e.status for n, e in entries.items()} == {
        "0.mp4": "ok", "1.mp4": "ok", "2.mp4": "ok", "3.mp4": "failed", "4.mp4": "ok"
    }  # fmt: skip
    assert "3 times" in entries["3.mp4"].reason
    assert "segmentation fault" in entries["3.mp4"].reason
    assert "much more" not in entries["3.mp4"].reason
    assert state.failed == 1
    assert {p.name for p in tmp_path.iterdir()} == {"in", manifest.NAME}


def test_a_refusal_ends_the_batch_and_keeps_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = _items(tmp_path, 3)

    def answer(item: WorkItem, times: int) -> Entry | Refusal:
        if item.name == "2.mp4":
            time.sleep(0.5)
            return Refusal(f"node 2 does not see {item.source}.", item.source)
        if item.name == "1.mp4":
            item.source.unlink()
            return Refusal("gone here, too", item.source)
        return _ok(item)

    with pytest.raises(InputError, match="node 2 does not see"):
        _over(FakeRay(answer, [_node(6)]), items, tmp_path, monkeypatch)
    assert {n: e.status for n, e in manifest.read(tmp_path).items()} == {"0.mp4": "ok", "1.mp4": "failed"}
    assert not list(tmp_path.glob(".posepipe-*"))


def test_nobody_to_work_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    items = _items(tmp_path, 1)
    with pytest.raises(InputError, match="No node of the cluster has 2 cores for a worker"):
        _over(FakeRay(None, [_node(1), _node(1)]), items, tmp_path, monkeypatch)
    monkeypatch.undo()
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'posepipe\[ray\]'"):
        RayCrew(tmp_path, SETTINGS, "digest")


# --- a real cluster of two nodes ---


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'posepipe[ray]'")
    batch_ray._import_ray(None)  # its flags must be set before anybody imports it
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    own = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 << 20}
    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    quick["worker_niceness"] = 0  # tests share the machine; 15 of 19 otherwise
    made = Cluster(initialize_head=True, head_node_args={**own, "include_dashboard": False, "_system_config": quick})
    made.second = made.add_node(**own)
    yield made
    made.shutdown()


def _listening_beyond_loopback(pids: set[int]) -> set[str]:
    """Addresses on which these processes listen, from /proc: not 127.x and not ::ffff:127.x."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state, inode = (line.split()[k] for k in (1, 3, 9))
            address = local.rpartition(":")[0]
            if state == "0A" and not address.endswith("7F"):
                found |= {f"{local}" for pid in pids if inode in _sockets(pid)}
    return found


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for entry in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{entry}")
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def _ray_processes() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"ray::" in command or b"/ray/" in command:
                found.add(int(entry.name))
    return found


@pytest.mark.slow
def test_worker_and_node_killed_and_the_bytes_are_those_of_a_local_run(
    videos: Path, cluster: Any, tmp_path: Path
) -> None:
    local, out = tmp_path / "local", tmp_path / "out"
    assert main(["batch", str(videos), "-o", str(local), "--no-overlay", "--jobs", "1"]) == 0
    done = threading.Event()
    told: dict[str, Any] = {}

    def writers() -> set[int]:
        return {int(p.name.rpartition("-")[2]) for p in out.glob(".*.h5.tmp-*")}

    def spoil() -> None:
        while not done.is_set() and not (found := writers()):
            time.sleep(0.02)
        told["killed"] = victim = min(found)
        os.kill(victim, signal.SIGKILL)
        told["open"] = _listening_beyond_loopback(_ray_processes() | {os.getpid()})
        while not done.is_set() and len(writers() - {victim}) < 2:  # both nodes are at work again
            time.sleep(0.02)
        told["before"] = len(manifest.read(out))
        cluster.remove_node(cluster.second, allow_graceful=False)
        told["node"] = True

    spoiler = threading.Thread(target=spoil)
    spoiler.start()
    try:
        argv = ["--no-overlay", "--engine", "ray", "--address", cluster.address, "--cores-per-worker", "1"]
        assert main(["batch", str(videos), "-o", str(out), *argv]) == 0
    finally:
        done.set()
        spoiler.join()
    assert told["node"]
    assert told["before"] < 4  # it was in the middle
    assert told["open"] == set()
    assert _results(out) == _results(local)
    assert [e.status for e in manifest.read(out).values()] == ["ok"] * 5
    assert main(["batch", str(videos), "-o", str(out), "--no-overlay", "--resume"]) == 0  # the same settings, here
    assert {p.name for p in out.iterdir()} == {f"{k}.h5" for k in range(5)} | {manifest.NAME}
