"""The `posepipe` command: names the verbs and imports only the room of the one that was called."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress

# verb -> (module with `main(verb, argv) -> int`, what it does)
VERBS = {
    "run": ("posepipe.pipeline.cli", "a video in, 3D skeletons with uncertainty and a picture of them out"),
    "demo": ("posepipe.pipeline.cli", "the same on a rendered actor whose 3D is known exactly, with the errors"),
    "batch": ("posepipe.pipeline.cli_batch", "every video of a folder, crash-safe, in several processes"),
    "export": ("posepipe.pipeline.cli_export", "a result file to csv, json, npz, bvh, c3d, trc, rrd or glb"),
    "inspect": ("posepipe.pipeline.cli_inspect", "what the detector sees in a video, as one picture"),
    "report": ("posepipe.pipeline.cli_report", "one HTML page about a folder of results"),
    "lifters": ("posepipe.trt_build.cli", "the lifters, their papers and weights"),
    "build-engines": ("posepipe.trt_build.cli", "a lifter's weights to the graph that the backends run"),
    "selftest": ("posepipe.trt_build.cli", "whether a backend works on this machine: a report for a bug"),
    "bench": ("posepipe.trt_build.cli", "how long a lifter takes here, on every backend"),
    "train": ("posepipe.training.cli", "run a recipe of configs/train"),
    "evaluate": ("posepipe.training.evaluate_cli", "errors, oracles and calibration of a lifter on unseen people"),
    "calibrate": (
        "posepipe.training.calibrate",
        "fit the spread of hypotheses, so that p % regions cover p %",
    ),
    "import-checkpoint": ("posepipe.training.cli", "a file that a paper's authors published to a checkpoint"),
    "data": ("posepipe.training.cli", "build a motion file from mocap"),
    "doctor": ("posepipe.doctor", "what is installed, which backends work and why the others do not"),
}

# What `posepipe VERB --help` ends with.
EXAMPLES = {
    "run": ("posepipe run my.mp4 -o out", "posepipe run my.mp4 -o out --lifter drpose --fov 70", "posepipe run 0"),
    "demo": ("posepipe demo -o out/demo", "posepipe demo --motion squat --seconds 5"),
    "batch": ("posepipe batch videos/ -o out", "posepipe batch videos/ -o out --resume --jobs 2"),
    "export": (
        "posepipe export out/my.h5 --to bvh",
        "posepipe export out/my.h5 --to glb --pose hypothesis:3",
    ),
    "inspect": ("posepipe inspect my.mp4", "posepipe inspect my.mp4 --frames 20 -o sheet.png"),
    "report": ("posepipe report out",),
    "lifters": ("posepipe lifters", "posepipe lifters drpose"),
    "build-engines": ("posepipe build-engines --lifter mdn --hypotheses 200 --precision fp16 -o engines",),
    "selftest": ("posepipe selftest --backend onnxruntime",),
    "bench": ("posepipe bench --lifter mdn",),
    "train": (
        "posepipe train configs/train/mdn_first_cmu.toml",
        "posepipe train configs/train/mdn_first_cmu.toml --resume",
    ),
    "evaluate": ("posepipe evaluate --lifter mdn --data data/cmu_h36m17.h5 --noise detector",),
    "calibrate": ("posepipe calibrate mine/mdn.safetensors --data data/cmu_h36m17.h5 -o mdn.safetensors",),
    "import-checkpoint": (
        "posepipe import-checkpoint --from drpose model.pth -o drpose.safetensors --conversion blazepose33-h36m17@1",
    ),
    "data": ("posepipe data build --from bvh motions/ -o data/mine.h5",),
    "doctor": ("posepipe doctor",),
}


def _usage() -> str:
    lines = "\n".join(f"  {verb:<18} {text}" for verb, (_, text) in VERBS.items())
    return f"usage: posepipe VERB ...  (posepipe VERB --help)\n\n{lines}\n\n  --version          the version"


def command() -> int:
    """What the installed `posepipe` is: `main` in a process of its own, in which nothing runs afterwards."""
    return main(own_process=True)


def main(argv: list[str] | None = None, own_process: bool = False) -> int:
    """Run one verb; returns the exit code: 0 done, 1 some input failed, 2 usage, 130/143 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        from posepipe import __version__

        print(f"posepipe {__version__}")
        return 0
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        import difflib

        near = difflib.get_close_matches(verb, VERBS, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        print(f"posepipe: there is no verb '{verb}'.{hint} See `posepipe --help`.", file=sys.stderr)
        return 2
    try:
        return _guarded(verb, rest, own_process)
    finally:
        if "-h" in rest or "--help" in rest:
            with suppress(BrokenPipeError):  # `| head`
                print("\nexamples:", *EXAMPLES[verb], sep="\n  ", flush=True)


def _guarded(verb: str, argv: list[str], own_process: bool) -> int:
    """Call the verb; expected failures become one line on stderr and an exit code, tracebacks need --debug."""
    import signal

    from posepipe.errors import PosepipeError

    debug = "--debug" in argv
    argv = [a for a in argv if a != "--debug"]

    def terminate(signum: int, frame: object) -> None:
        raise _Terminated

    asked: list[int] = []

    def interrupt(signum: int, frame: object) -> None:
        asked.append(signum)
        # Whoever asks twice does not want to wait for cleaning up; what is left then has a temporary name.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where it is ignored: in the background, under nohup
        signal.signal(signal.SIGINT, interrupt)
    try:
        return int(importlib.import_module(VERBS[verb][0]).main(verb, argv))
    except (PosepipeError, KeyboardInterrupt) as error:
        # A library that is being loaded makes an ImportError of the interruption.
        if asked or not isinstance(error, PosepipeError):
            print(f"posepipe {verb}: interrupted; nothing half-written was kept.", file=sys.stderr)
            return 130
        if debug:
            raise
        print(f"posepipe {verb}: {error}", file=sys.stderr)
        return error.exit_code
    except _Terminated:
        print(f"posepipe {verb}: terminated; nothing half-written was kept.", file=sys.stderr)
        return 143
    except BrokenPipeError:
        return 1
    except ImportError as error:
        if asked:
            print(f"posepipe {verb}: interrupted; nothing half-written was kept.", file=sys.stderr)
            return 130
        if debug:
            raise
        from posepipe.system_check import fix, missing_libraries

        missing = missing_libraries()
        hint = f"Install it: {fix(missing)}" if missing else "See `posepipe doctor`."
        print(f"posepipe {verb}: something that it needs does not load ({error}). {hint}", file=sys.stderr)
        return 1
    finally:
        if before is signal.default_int_handler:
            # While Python ends, our handler is gone: a late second Ctrl-C would kill what is already finished.
            ends = asked and own_process
            signal.signal(signal.SIGINT, signal.SIG_IGN if ends else before)


class _Terminated(BaseException):
    """SIGTERM arrived; a BaseException, so that cleaning up happens but nothing handles it as a failure."""


if __name__ == "__main__":
    sys.exit(command())
