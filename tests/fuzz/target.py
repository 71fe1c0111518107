"""What is fuzzed: real files, how they are damaged, and who reads them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutate import damage

Damage = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Seed:
    """A real file of a target.

    path: below the target's folder; damaged bytes are written there. read: called with its full path; it may give
    anything or raise a PosepipeError of one line, and asserts what has to hold of a result. damages: one is drawn for
    each case. restore: other seeds' readers need this file as it was."""

    path: str
    read: Callable[[Path], object]
    damages: tuple[Damage, ...] = (damage,)
    restore: bool = False


@dataclass(frozen=True)
class Target:
    """build: writes the seeds (and whatever they need beside them) into a folder, once; seeds: describes them."""

    build: Callable[[Path], None]
    seeds: Callable[[Path], tuple[Seed, ...]]


@dataclass(frozen=True)
class Case:
    """One damaged file. data: what is written to seed.path."""

    seed: Seed
    data: bytes


class Cases:
    """The cases of a target, by number: a function of the seed files, the run's seed and the number alone."""

    def __init__(self, target: Target, folder: Path, name: str, run_seed: int) -> None:
        self.seeds = target.seeds(folder)
        self.originals = [(folder / s.path).read_bytes() for s in self.seeds]
        self._name, self._run_seed = name, run_seed

    def case(self, number: int) -> Case:
        rng = random.Random(f"{self._name} {self._run_seed} {number}")
        index = rng.randrange(len(self.seeds))
        seed = self.seeds[index]
        return Case(seed, rng.choice(seed.damages)(self.originals[index], rng, self.originals))
