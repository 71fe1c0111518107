"""The targets by name."""

from __future__ import annotations

from tests.fuzz.archives import NPZ, TENSORFLOW, TORCH, ZIP
from tests.fuzz.hdf5_files import DATA_SETS, MOTION, RECORDING
from tests.fuzz.target import Target
from tests.fuzz.text_files import CONFIG, INTRINSICS, MANIFEST, MOCAP, SIDECAR
from tests.fuzz.video_files import IMAGES, VIDEO
from tests.fuzz.weights import CHECKPOINT, GRAPH, STATE

TARGETS: dict[str, Target] = {
    "video": VIDEO,  # FFmpeg's containers and decoders, the file source on them, the batch's look at files
    "images": IMAGES,  # numbered images as a video
    "recording": RECORDING,  # result files: every export, the report
    "motion": MOTION,  # motion files: whole, streamed, keypoints, cameras
    "data-sets": DATA_SETS,  # Human3.6M as h5, MPI-INF-3DHP as MATLAB's HDF5
    "graph": GRAPH,  # ONNX graphs over a checkpoint, loaded and run
    "checkpoint": CHECKPOINT,  # safetensors with our header, into a network
    "state": STATE,  # states of training runs
    "torch": TORCH,  # PyTorch's files, as authors publish them
    "tensorflow": TENSORFLOW,  # TensorFlow's V2 checkpoints and the statistics beside them
    "npz": NPZ,  # npz, pickled and plain
    "zip": ZIP,  # CMU's archive of ASF and AMC
    "mocap": MOCAP,  # BVH, ASF, AMC
    "sidecar": SIDECAR,  # engines and their side-cars
    "config": CONFIG,  # TOML of recipes and of names
    "manifest": MANIFEST,  # a batch's manifest
    "intrinsics": INTRINSICS,  # calibrations: our JSON, OpenCV, ROS, Kalibr
}
