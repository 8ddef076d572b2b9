"""What a stored result depends on besides its job, and why one is no longer valid.

A job's hash covers task, method version, settings and seed. A result also depends on where the job runs: the content of
the data, the weights of frozen encoders, the kind of device that was requested, and the program itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.version import __version__, series
from mmcl_bench.encoders.features import STORED
from mmcl_bench.methods import METHODS
from mmcl_bench.skeleton.clips import Modality

if TYPE_CHECKING:
    from mmcl_bench.running.jobs import Job

_OF_CHECKPOINTS = ("torch", "numpy", "scikit-learn")
"""Packages of which another version may continue a training differently."""


@dataclass(frozen=True)
class WeightHashes:
    """Hashes of the weights of encoders, each computed once."""

    _known: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def of(self, spec: str, modality: str) -> str | None:
        """sha256 of the weights that an encoder would use; None where it is not on this machine."""
        from mmcl_bench.encoders import image_encoder, text_encoder

        make: Callable[[str], Any] = image_encoder if modality == Modality.RGB else text_encoder
        key = spec, modality
        if key not in self._known:
            try:
                self._known[key] = make(spec).weight_hash
            except UserError:
                self._known[key] = None
        return self._known[key]


def why_stale(
    job: Job,
    stored: Mapping[str, Any],
    fingerprints: Mapping[str, str | None],
    device: str | None,
    weights: WeightHashes,
) -> str | None:
    """Why a stored result of the job is no longer valid, in a few words; None where it is.

    ``stored`` is the provenance of its ``result.json``. ``fingerprints`` are those of the data on this machine, None
    for data that are not here; ``device`` is the requested one, None for any. What cannot be compared here, such as
    an encoder that is not installed, is taken as unchanged.
    """
    former = stored["data_fingerprints"]
    if former.keys() != fingerprints.keys():
        return f"other data sets: {', '.join(sorted(former))}"
    for name, fingerprint in fingerprints.items():
        if fingerprint is not None and former[name] != fingerprint:
            return f"data of {name} differ"
    for spec, modality in _encoders(job).items():
        found = weights.of(spec, modality) if spec in stored["weight_hashes"] else None
        if found is not None and found != stored["weight_hashes"][spec]:
            return f"weights of {spec} differ"
    if device is not None and device.partition(":")[0] != _device_type(stored):
        return f"ran on {_device_type(stored)}, asked for {device}"
    if series(stored["mmcl_bench"]) != series():
        return f"of mmcl-bench {stored['mmcl_bench']}, here {__version__}"
    return None


def checkpoint_environment(fingerprints: Mapping[str, str], device: str) -> dict[str, str]:
    """All that the checkpoints of an interrupted run depend on besides the job.

    The number of threads is left out, though it changes the last digits of gradients: otherwise, resuming with another
    number of workers or cores would lose hours of training. The runner keeps such checkpoints, and records in the log
    and in the result's notes that numbers of threads were mixed.
    """
    versions = {name: metadata.version(name) for name in _OF_CHECKPOINTS}
    return {"mmcl_bench": __version__, **versions, "device": device.partition(":")[0], **fingerprints}


def encoder_weights(job: Job, weights: WeightHashes) -> dict[str, str]:
    """For :func:`checkpoint_environment`: the first digits of the hashes of the job's frozen encoders, as far as they
    are installed."""
    found = {f"weights of {spec}": weights.of(spec, modality) for spec, modality in _encoders(job).items()}
    return {name: value[:12] for name, value in found.items() if value is not None}


def what_differs(former: object, now: Mapping[str, str | None]) -> str | None:
    """What has changed in :func:`checkpoint_environment`, in a few words; None where nothing has.

    A value that is None in ``now`` is unknown, and taken as unchanged.
    """
    if not isinstance(former, dict):
        return "nothing tells what they are of"
    for name, value in now.items():
        if value is not None and former.get(name) != value:
            return (
                f"{name} {former.get(name, 'not stated')}, now {value}" if len(value) < 64 else f"other data of {name}"
            )
    return None


def _encoders(job: Job) -> dict[str, str]:
    """Modality by encoder spec: of the class texts, and of the method's training modalities besides skeletons."""
    found = {spec: str(modality) for modality, spec in METHODS.get(job.method)(**job.settings).encoders().items()}
    if "text" in job.task.parameters:
        found[job.task.parameters["text"]] = "text"
    # Features that are stored with a data set are part of its fingerprint.
    return {spec: modality for spec, modality in found.items() if not spec.startswith(STORED)}


def _device_type(stored: Mapping[str, Any]) -> str:
    """Older results do not record the kind of device; they name the GPU, or else the processor."""
    message = stored.get("device_type")
    return str(message) if message else ("cuda" if stored["device"].startswith(("NVIDIA", "AMD")) else "cpu")
