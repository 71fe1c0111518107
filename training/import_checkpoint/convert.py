"""Published checkpoint in, safetensors with our header out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from posepipe.errors import CheckpointError, OutputError, UsageError
from posepipe.hashing import file_sha256
from posepipe.lifters.authors import Imported, read_pth
from posepipe.lifters.build import write
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.lifters.variants import fixed_hypotheses, noise_shape
from posepipe.training.import_checkpoint.statistics import read_statistics

SYSTEMS = ("martinez-tf", "mdn-tf", "wsgan-tf", "htnet", "dcgct", "drpose", "prpose")
NO_CONVERSION = "h36m17@1"  # the authors' 2D poses are H36M-17 already


@dataclass(frozen=True)
class Converted:
    """What was written. unexpected: entries of the file that sampling does not need. warnings: sentences for people."""

    header: Checkpoint
    path: Path
    unexpected: tuple[str, ...]
    warnings: tuple[str, ...]


def import_checkpoint(
    system: str,
    file: Path,
    out: Path,
    *,
    statistics: Path | None = None,
    lifter_file: Path | None = None,
    conversion: str = NO_CONVERSION,
) -> Converted:
    """Convert a file that the authors published into a checkpoint of ours, in `screen` input space, all in float32.

    system: one of SYSTEMS. file: .pth, or a TensorFlow V2 checkpoint (prefix, .index, or its folder). statistics: for
    martinez-tf and mdn-tf, see statistics.py; without it the checkpoint maps standardised numbers to standardised
    numbers, and a warning says so. lifter_file: for prpose, the lifter's file; by default shhpe_model_X.pth beside
    avg_model_X.pth, the authors' names. conversion: which keypoint conversion the checkpoint shall be used with.
    Raises UsageError, CheckpointError (with the missing, misshaped and unexpected entries) or OutputError; nothing is
    written then.
    """
    file, out = Path(file), Path(out)
    if system not in SYSTEMS:
        raise UsageError(f"No published system is called '{system}'.", f"Known: {', '.join(SYSTEMS)}.")
    if not file.exists() and not Path(f"{file}.index").exists():
        raise CheckpointError(f"There is no file {file}.", "Check the path.")
    warnings: list[str] = []
    imported, contract = _read(system, file, statistics, lifter_file, warnings)
    if imported.unexpected:
        some = ", ".join(imported.unexpected[:6]) + (", ..." if len(imported.unexpected) > 6 else "")
        warnings.append(f"{len(imported.unexpected)} entries of the file are not needed: {some}.")
    for name, value in imported.state.items():
        if torch.is_floating_point(value) and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{name} in {file} holds numbers that are not finite.", "Download the file anew.")
    provenance: dict[str, Any] = {"imported_from": file.name, "system": system, "sha256": _digest(file)}
    if statistics is not None:
        provenance["statistics_sha256"] = file_sha256(statistics)
    lifter, network = contract["lifter"], imported.network
    header = Checkpoint(
        network=network,
        space="screen",
        conversion=conversion,
        noise_shape=noise_shape(lifter, network),
        fixed_hypotheses=fixed_hypotheses(lifter, network),
        provenance=provenance,
        **contract,
    )
    _write(out, imported.state, header)
    return Converted(header, out, imported.unexpected, tuple(warnings))


def _read(
    system: str, file: Path, statistics: Path | None, lifter_file: Path | None, warnings: list[str]
) -> tuple[Imported, dict[str, Any]]:
    """The weights and the fields of the header that depend on the system."""
    if statistics is not None and system not in ("martinez-tf", "mdn-tf"):
        raise UsageError(f"'{system}' takes no statistics.", "Only martinez-tf and mdn-tf standardise their data.")
    if lifter_file is not None and system != "prpose":
        raise UsageError(f"'{system}' takes no second file.", "Only prpose is published in two.")
    if system in ("martinez-tf", "mdn-tf"):
        return _standardised(system, file, statistics, warnings)
    if system == "wsgan-tf":
        from posepipe.training.import_checkpoint.wsgan_tf import import_wsgan

        return import_wsgan(file), {"lifter": "wsgan", "hypotheses": 10}
    if system == "prpose":
        from posepipe.lifters.prpose.authors import from_authors as prpose

        second = lifter_file or file.with_name(file.name.replace("avg_model", "shhpe_model"))
        if second == file or not second.exists():
            raise CheckpointError(
                f"PRPose is published in two files, and the lifter that belongs to {file.name} is not given.",
                "Give its shhpe_model_*.pth as the second file, or put it beside avg_model_*.pth.",
            )
        imported = prpose(read_pth(file), read_pth(second))
        return imported, {"lifter": "prpose", "hypotheses": 20}
    return _pth(system, file)


def _standardised(
    system: str, file: Path, statistics: Path | None, warnings: list[str]
) -> tuple[Imported, dict[str, Any]]:
    numbers = None if statistics is None else read_statistics(statistics)
    if numbers is None:
        warnings.append(
            "The file holds no training statistics and none were given: inputs and outputs are standardised numbers, "
            "not keypoints and metres."
        )
    if system == "martinez-tf":
        from posepipe.training.import_checkpoint.martinez_tf import import_martinez

        return import_martinez(file, numbers), {"lifter": "martinez", "hypotheses": 1}
    from posepipe.training.import_checkpoint.mdn_tf import import_mdn

    imported = import_mdn(file, numbers)
    kernels = imported.network["kernels"]
    return imported, {"lifter": "mdn", "hypotheses": kernels}


def _pth(system: str, file: Path) -> tuple[Imported, dict[str, Any]]:
    state = read_pth(file)
    if system == "htnet":
        from posepipe.lifters.htnet.authors import from_authors as htnet

        return htnet(state), {"lifter": "htnet", "hypotheses": 1}
    if system == "dcgct":
        from posepipe.lifters.dcgct.authors import from_authors as dcgct

        return dcgct(state), {"lifter": "dcgct", "hypotheses": 1}
    from posepipe.lifters.drpose.authors import from_authors as drpose

    imported = drpose(state)
    return imported, {"lifter": "drpose", "hypotheses": 20, "steps": imported.network["steps"]}


def _digest(file: Path) -> str:
    """SHA-256 of a .pth, or of the index of a TensorFlow checkpoint (which holds the checksums of all values)."""
    if file.is_file() and file.suffix not in (".index", ".meta") and ".data-" not in file.name:
        return file_sha256(file)
    from posepipe.training.import_checkpoint.tf_bundle import prefix_of

    return file_sha256(Path(f"{prefix_of(file)}.index"))


def _write(out: Path, state: dict[str, Tensor], header: Checkpoint) -> None:
    """Like lifters.build.save, but all in float32: published numbers are kept as they are."""
    from safetensors import SafetensorError

    tensors = {
        name: value.detach().float() for name, value in state.items() if not name.endswith("num_batches_tracked")
    }
    try:
        write(out, tensors, header)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"Cannot write {out} ({error}).", "Check that its folder exists and is writable.") from None
