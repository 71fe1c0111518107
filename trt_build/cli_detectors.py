"""`posepipe build-engines --detector NAME --detector-weights FILE`: the same for detectors."""

from __future__ import annotations

import argparse

from posepipe.errors import MissingDependencyError, PosepipeError
from posepipe.trt_build.detector.catalogue import cache_folder, entry


def build_detectors(args: argparse.Namespace) -> int:
    """Graphs go to -o DIR, or to where `posepipe run --detector NAME` looks for them."""
    found = entry(args.detector[0])
    out = args.out or cache_folder()
    try:
        from posepipe.trt_build.detector import make
    except ImportError as error:
        raise MissingDependencyError(
            f"Exporting needs {error.name}.", "Install it with `pip install 'posepipe[train]'`."
        ) from None
    net, contract = make.load_detector(found, args.detector_weights, args.flip)
    graphs = make.make_detector_graphs(found, net, contract, out, args.precision, print)
    for persons in args.persons:
        make.fixed_detector(graphs, persons)
    if args.backend == "onnx":
        print("Graphs only, no engines: --backend onnx.")
        return 0
    from posepipe.trt_build.cli_engines import progress_bar
    from posepipe.trt_build.engine.engines import find_tensorrt
    from posepipe.trt_build.engine.progress import Phases
    from posepipe.trt_build.runners.heatmaps import open_heatmaps

    try:
        trt, gpu = find_tensorrt()
    except PosepipeError as error:
        if args.backend == "tensorrt":
            raise type(error)(f"Graphs only, no engines: {error.message}", error.hint) from None
        print(f"Graphs only, no engines: {error.message}")
        return 0
    with progress_bar() as bar:
        for persons in args.persons:
            path, difference = make.make_detector_engine(
                graphs, persons, out, trt=trt, gpu=gpu, phases=Phases(bar), opened=open_heatmaps
            )
            print(f"{found.name}: {path} ({path.stat().st_size / 1e6:.1f} MB), {difference:.1e} from ONNX Runtime")
    return 0
