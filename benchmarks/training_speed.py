"""Training speed: our recipes' loops beside their authors' style of loop, the same network on the same machine.

    python benchmarks/training_speed.py [--systems martinez htnet dcgct] [--steps 20] [--out docs]

Three loops over the network of configs/train/NAME_cmu.toml (NAME_first_cmu.toml where training has two stages), and
over the published one with --published:

- authors: float32, pairs of 2D and 3D that lie in memory, shuffled, a batch of them copied together in the loop; Adam.
  Martinez: batch 64, squared error. HTNet and DC-GCT: batch 512 and behind it the mirrored copies, amsgrad, through a
  torch DataLoader without workers.
- authors, our data: the same, but every batch is drawn, augmented and filmed in the loop, as nobody would have to if a
  thread could do it ahead.
- ours: as in the recipe: batches made ahead by a thread, bfloat16, AdamW, averaged weights, batch of the configuration.

A sample is a row that goes through the network (a mirrored copy is one). Time is by the wall, so the machine must be
quiet; CPU time is of all threads of the process. The loops take turns, three rounds; the medians are given.
Writes training_speed.md and training_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from posepipe.lifters.build import build_sampler
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.training.optim import AveragedWeights
from posepipe.training.recipes import read_config
from posepipe.training.recipes.joints import copies
from posepipe.training.recipes.martinez import pose_loss, standardise
from posepipe.training.recipes.supply import Source, training_source
from posepipe.training.session import open_session

PARTS = ("data", "forward", "backward", "optimiser")
Sample = tuple[Tensor, Tensor, Tensor]


@dataclass
class Clock:
    """Seconds of each part, and of the whole in CPU time."""

    device: torch.device
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    rows: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        start = self.now()
        yield
        self.parts[part] += self.now() - start


def network(config: Any, drawn: Sample) -> nn.Module:
    """The sampler of a configuration with fresh weights."""
    if config.recipe == "martinez":
        from posepipe.training.recipes.martinez import header_of

        sampler = build_sampler(header_of(config))
        standardise(sampler, drawn)  # type: ignore[arg-type]
        return sampler
    names = ["blocks", "heads", "dropout", "flip", "use_confidence", "channels"]
    names += ["hidden", "gcn_hidden"] if config.recipe == "htnet" else ["gcn_dropout"]
    settings = {name: getattr(config, name) for name in names} | {"drop_path": list(config.drop_path)}
    return build_sampler(
        Checkpoint(config.recipe, settings, config.space, config.conversion, (), 1, fixed_hypotheses=1)
    )


def loss_of(sampler: Any, net: Any, batch: Sample, kind: str) -> Tensor:
    keypoints, confidence, joints = batch
    z = net(sampler.input(keypoints, confidence)).float()
    if kind == "joints":
        return (z - joints).norm(dim=-1).mean()
    return pose_loss(kind, sampler.output(z), joints, z, sampler.output)


def run(clock: Clock, steps: int, batches: Callable[[], Sample], loss: Callable[[Sample], Tensor], rest: Any) -> Clock:
    """`steps` steps of a loop, and before them two that are not counted. rest: (optimiser, backward, after each)."""
    optimiser, backward, after = rest
    for step in range(-2, steps):
        if step == 0:
            clock.parts = dict.fromkeys(PARTS, 0.0)
            clock.rows, wall, cpu = 0, clock.now(), time.process_time()
        with clock.of("data"):
            batch = batches()
        with clock.of("forward"):
            value = loss(batch)
        with clock.of("backward"):
            optimiser.zero_grad()
            backward(value)
        with clock.of("optimiser"):
            optimiser.step()
            after(step + 2)
        clock.rows += len(batch[2])
    clock.wall, clock.cpu = clock.now() - wall, time.process_time() - cpu
    return clock


def authors(config: Any, source: Source, steps: int, device: torch.device, held: Sample | None) -> Clock:
    """held: pairs in memory; None: made in the loop."""
    joints = config.recipe != "martinez"
    batch = 512 if joints else 64
    sampler = network(config, source.first(1)).to(device).train()
    net: Any = sampler.net
    if joints:
        optimiser: Any = torch.optim.Adam(sampler.parameters(), 5e-4, amsgrad=True)
    else:
        optimiser = torch.optim.Adam(sampler.parameters(), 1e-3)
    if held is None:
        made = training_source(replace(config, batch=batch))
        numbers = iter(range(10**9))

        def drawn() -> Sample:
            return made.draw(0, next(numbers), 0)
    elif joints:
        loader = iter(DataLoader(TensorDataset(*held), batch, shuffle=True, drop_last=True))

        def drawn() -> Sample:
            return tuple(next(loader))  # type: ignore[return-value]
    else:
        arrays = [part.numpy() for part in held]
        order = np.random.default_rng(0).permutation(len(arrays[0]))
        starts = iter(range(0, len(order) - batch, batch))

        def drawn() -> Sample:
            start = next(starts)
            rows = order[start : start + batch]
            return tuple(torch.from_numpy(a[rows]) for a in arrays)  # type: ignore[return-value]

    def batches() -> Sample:
        moved = tuple(part.to(device) for part in drawn())
        return copies(moved, joints)  # type: ignore[arg-type]

    kind = "joints" if joints else "mse"
    rest = (optimiser, lambda value: value.backward(), lambda step: None)
    return run(Clock(device), steps, batches, lambda b: loss_of(sampler, net, b, kind), rest)


def ours(config: Any, source: Source, steps: int, accelerator: str) -> Clock:
    session = open_session(config, accelerator=accelerator)
    sampler: Any = network(config, source.first(1)).to(session.device)
    optimiser = torch.optim.AdamW(sampler.parameters(), config.rate, weight_decay=config.weight_decay)
    net, optimiser = session.setup(config, sampler.net, optimiser)
    average = AveragedWeights(sampler, config.average)
    sampler.train()
    kind = "mpjpe" if config.recipe == "martinez" else "joints"
    with source.from_step(0) as stream:
        rest = (optimiser, session.fabric.backward, lambda step: average.update(sampler, step))

        def batches() -> Sample:
            return session.to_device(next(stream))

        return run(Clock(session.device), steps, batches, lambda b: loss_of(sampler, net, b, kind), rest)


def measure(config: Any, steps: int, rounds: int, accelerator: str) -> dict[str, Any]:
    """The three loops, alternately."""
    source = training_source(config)
    device = torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    few = steps if config.recipe != "martinez" else 8 * steps  # steps of 64 rows are short
    held = source.first(-(-(512 if config.recipe != "martinez" else 64) * (few + 4) // config.batch) + 1)
    loops: dict[str, Callable[[], Clock]] = {
        "authors": lambda: authors(config, source, few, device, held),
        "authors, our data": lambda: authors(config, source, few, device, None),
        "ours": lambda: ours(config, source, steps, accelerator),
    }
    clocks: dict[str, list[Clock]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            clocks[name].append(loop())
    found: dict[str, Any] = {}
    for name, several in clocks.items():
        found[name] = {
            "samples_per_second": round(float(np.median([c.rows / c.wall for c in several])), 1),
            "cpu_ms_per_sample": round(float(np.median([1000 * c.cpu / c.rows for c in several])), 4),
            "rows_per_step": several[0].rows // (steps if name == "ours" else few),
            "share": {
                p: round(float(np.median([c.parts[p] / sum(c.parts.values()) for c in several])), 3) for p in PARTS
            },
        }
    for name in ("authors", "authors, our data"):
        ratio = found["ours"]["samples_per_second"] / found[name]["samples_per_second"]
        found["ours"][f"times {name}"] = round(ratio, 2)
    return found


def page(found: dict[str, Any], about: dict[str, Any]) -> str:
    text = (__doc__ or "").split("\n\n", 2)[2].rsplit("\n\n", 1)[0]
    lines = ["# Training speed", "", text, "", *(f"- {k}: {v}" for k, v in about.items()), ""]
    head = ("network", "loop", "rows a step", "samples/s", "CPU ms/sample", *(f"{p}, %" for p in PARTS))
    lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, loops in found.items():
        for loop, m in loops.items():
            shares = [f"{100 * m['share'][p]:.0f}" for p in PARTS]
            cells = [name, loop, m["rows_per_step"], f"{m['samples_per_second']:,.0f}", f"{m['cpu_ms_per_sample']:.3f}"]
            lines.append(f"| {' | '.join(map(str, [*cells, *shares]))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=["martinez", "htnet", "dcgct"])
    parser.add_argument("--data", default="data/cmu_h36m17.h5")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--published", action="store_true", help="networks of the published size")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.systems:
            path = next(
                p for p in map(Path, (f"configs/train/{name}_{s}cmu.toml" for s in ("first_", ""))) if p.exists()
            )
            module, config = read_config(path)
            if args.published:
                sizes = ("width", "channels", "hidden", "gcn_hidden", "heads")
                published = {k: getattr(module.Config(recipe="", data="", out=""), k, None) for k in sizes}
                config = replace(config, **{k: v for k, v in published.items() if v is not None})
            changed = {"data": args.data, "threads": args.threads, "out": f"{folder}/{name}.safetensors"}
            torch.set_num_threads(args.threads)
            found[name] = measure(replace(config, **changed), args.steps, args.rounds, args.accelerator)
            print(name, json.dumps(found[name], indent=1), flush=True)
    gpu = torch.cuda.get_device_name(0) if args.accelerator != "cpu" and torch.cuda.is_available() else "no GPU"
    about = {
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), {gpu}, {args.threads} threads",
        "torch": torch.__version__,
        "networks": "of the published size" if args.published else "as shipped",
        "load before": " ".join(f"{v:.1f}" for v in os.getloadavg()),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    stem = "training_speed_published" if args.published else "training_speed"
    (args.out / f"{stem}.json").write_text(json.dumps({"about": about, "systems": found}, indent=1) + "\n")
    (args.out / f"{stem}.md").write_text(page(found, about))


if __name__ == "__main__":
    main()
