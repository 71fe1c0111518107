#!/usr/bin/env bash
# Everything that only an NVIDIA GPU can show, in one call and without installing anything: the noise kernel, the goal of
# the CUDA graphs (DRPose, H = 200, K = 10), as much of the table of launches as there is time for, and the self test.
#
#     tools/gpu_session.sh OUT [MINUTES]     # OUT: a folder; its gpu_launch.json is gone on with. MINUTES: of the table
#
# Needs a python3 (or $PYTHON) with torch for CUDA, numpy, onnxruntime, safetensors and rich; cuda-bindings with NVRTC for
# the noise kernel. A part that fails does not stop the others; the last line says how many did.
set -u
out=$(mkdir -p "$1" && cd "$1" && pwd) minutes=${2:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
# The rooms lie side by side in the repository and are imported as posepipe.<room>.
cp -r "$root/posepipe" "$site/posepipe"
for room in lifters trt_build pipeline training detectors configs; do
    if [ -d "$root/$room" ]; then cp -r "$root/$room" "$site/posepipe/$room"; fi
done
export PYTHONPATH=$site PYTHONUNBUFFERED=1
cd "$site" || exit 1 # and not the repository, whose folder posepipe/ has no rooms in it
failed=0
part() { # NAME SECONDS COMMAND ...
    local name=$1 seconds=$2
    shift 2
    echo "== $name"
    timeout "$seconds" "$@" 2>&1 | tee "$out/$name.txt"
    local code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ] && [ "$code" -ne 3 ]; then failed=$((failed + 1)); fi # 3: the table has lines left
}

part machine 60 "$python" -c '
import torch
from posepipe.trt_build.selftest import machine
print("\n".join(f"{key}: {value}" for key, value in machine().items()))
print("torch", torch.__version__, "sees", torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")'
part noise_kernel 90 "$python" -c '
from posepipe.trt_build.noise_check import check_cuda
print(check_cuda())'
part noise_torch 90 "$python" -c '
from posepipe.trt_build.noise_check import check_torch
print(check_torch())'
launch=("$python" "$root/benchmarks/gpu_launch.py" --out "$out/gpu_launch.json")
part goal 240 "${launch[@]}" --lifter drpose --hypotheses 200 --steps 10 --persons 1
part selftest 150 "$python" -m posepipe selftest --backend torch --lifter mdn --lifter martinez
part table $((60 * minutes + 120)) "${launch[@]}" --minutes "$minutes"
echo "$failed parts failed; everything lies in $out"
exit $((failed > 0))
