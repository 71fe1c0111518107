"""The process that looks at a file first does not hang, whatever the process that it was forked from holds."""

import gc
import os
import threading
import time

import h5py
import numpy as np
import pytest

from posepipe import safe_h5

_THRESHOLDS = gc.get_threshold()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made["numbers"] = np.arange(1000.0)
    return path


class _Session:
    """In a circle, so that only the collector ends it; and its end waits for a thread that a fork does not have."""

    def __init__(self):
        self.itself, self.made_in, self.answer = self, os.getpid(), threading.Lock()
        self.answer.acquire()

    def __del__(self):
        if os.getpid() != self.made_in:
            self.answer.acquire()


def test_no_object_of_the_parent_is_ended_in_the_fork(file, monkeypatch):
    walk = safe_h5._walk

    def walk_while_the_collector_comes(path, whole):
        if gc.isenabled():
            gc.collect()
        walk(path, whole)
        os._exit(7)  # it came so far

    monkeypatch.setattr(safe_h5, "_walk", walk_while_the_collector_comes)
    monkeypatch.setattr(safe_h5, "_WAITING", 5)
    ends, waitpid = [], os.waitpid
    monkeypatch.setattr(os, "waitpid", lambda pid, how: ends.append(waitpid(pid, how)) or ends[-1])
    gc.collect()
    gc.disable()
    try:
        _Session()  # rubbish from now on
        gc.set_threshold(10**6)
        gc.enable()
        with safe_h5.open_h5(file) as opened:
            assert opened["numbers"][3] == 3
    finally:
        gc.set_threshold(*_THRESHOLDS)
        gc.enable()
    assert os.waitstatus_to_exitcode(ends[0][1]) == 7


def test_a_fork_that_waits_for_ever_says_nothing_about_the_file(file, monkeypatch):
    monkeypatch.setattr(safe_h5, "_SECONDS", 1)
    monkeypatch.setattr(safe_h5, "_WAITING", 1)
    monkeypatch.setattr(safe_h5, "_walk", lambda path, whole: time.sleep(3600))
    with safe_h5.open_h5(file) as opened:
        assert opened["numbers"][3] == 3


def test_a_fork_that_never_ends_is_a_damaged_file(file, monkeypatch):
    def walk(path, whole):
        while True:
            pass

    monkeypatch.setattr(safe_h5, "_SECONDS", 1)
    monkeypatch.setattr(safe_h5, "_walk", walk)
    with pytest.raises(OSError, match="does not come back from it"), safe_h5.open_h5(file):
        pass
