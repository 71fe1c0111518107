"""What int8 would cost and bring on a CPU: every shipped lifter with its products in int8, through the accuracy gate.

    python benchmarks/int8.py [--lifter NAME ...] [--people 200]

ONNX Runtime's own dynamic quantisation (onnxruntime.quantization.quantize_dynamic): weights int8 per output channel,
activations uint8 with a scale per tensor that is found in every run, in the products with constant matrices. Compared
with the float32 graph as `posepipe build-engines` compares float16: the same people, the same noise; limit p99 1 mm.
Time: process CPU time of one call for one person on one thread, the least of many, so that a busy machine matters less.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from posepipe.lifters.catalogue import LIFTERS, entry
from posepipe.trt_build.engine.gate import compare, reference
from posepipe.trt_build.runners.ort import OrtRunner

CALLS = 60


def with_folded_weights(graph: Path, out: Path) -> Path:
    """The graph with its weights as plain float32 initialisers, which is what the quantiser looks for."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(out), 3
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "float32.bin")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return out


def cpu_ms(runner: OrtRunner, hypotheses: int) -> float:
    rng = np.random.default_rng(0)
    shape = (1, hypotheses, *runner.contract.noise_shape)
    given = [rng.normal(size=s).astype(np.float32) for s in ((1, 17, 2), shape)]
    times = []
    for _ in range(CALLS):
        began = time.process_time()
        runner.run(given[0], np.ones((1, 17), np.float32), given[1])
        times.append(time.process_time() - began)
    return 1e3 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifter", action="append", default=[])
    parser.add_argument("--people", type=int, default=200)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # the quantiser's advice to prepare graphs, which with_folded_weights does
    print("| lifter | H | difference p99, max, mm | CPU ms, float32 / int8 |\n|---|---|---|---|")
    for e in [entry(name) for name in args.lifter] or [e for e in LIFTERS if e.checkpoint]:
        with tempfile.TemporaryDirectory() as folder, OrtRunner(e.graph_path) as exact:
            plain, quantised = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
            shutil.copy(e.checkpoint_path, folder)  # a runner asks for the weights that a graph was made from
            quantize_dynamic(with_folded_weights(e.graph_path, plain), quantised, per_channel=True,
                             weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True})  # fmt: skip
            expected = reference(exact.contract, exact.run, poses=args.people)
            with OrtRunner(quantised) as int8:
                try:
                    found = compare(expected, int8.run, 50, expected.count)
                except Exception as error:  # noqa: BLE001 - ONNX Runtime's own classes; the others are to be measured
                    print(f"| {e.name} | | does not run: {str(error).splitlines()[0][:200]} | |", flush=True)
                    continue
                count = exact.contract.fixed_hypotheses or 200
                times = f"{cpu_ms(exact, count):.2f} / {cpu_ms(int8, count):.2f}"
            print(f"| {e.name} | {count} | {found.p99 * 1e3:.1f}, {found.maximum * 1e3:.1f} | {times} |", flush=True)


if __name__ == "__main__":
    main()
