"""What a prepared data set has beside its skeletons, and what encoders made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from safetensors import SafetensorError, safe_open

from mmcl_bench.datasets.store import Addition, SkeletonDataset
from mmcl_bench.encoders.cache import made_on
from mmcl_bench.encoders.features import STORED
from mmcl_bench.skeleton.clips import Modality


class Listed(TypedDict):
    """One line of ``mmcl-bench features list``."""

    kind: str
    """strips, answers, features, or encoded: what an encoder made of strips or answers, in the cache."""
    name: str
    modality: str
    clips: int
    lacking: dict[str, str]
    numbers: int | None
    """In the features of a clip."""
    use: str
    """What to write after ``--set`` to train on stored features."""


def list_features(dataset: SkeletonDataset, cache_dir: Path) -> list[Listed]:
    """All that methods can learn from beside skeletons."""
    own = [_own(dataset, modality) for modality in (Modality.RGB, Modality.INSTRUCT) if dataset.card.brings(modality)]
    added = [_added(dataset, addition) for addition in dataset.card.additions]
    return [*own, *added, *_encoded(dataset, cache_dir)]


def _own(dataset: SkeletonDataset, modality: Modality) -> Listed:
    kind = "strips" if modality == Modality.RGB else "answers"
    return _line(kind, "of the data set itself", modality, len(dataset.index))


def _added(dataset: SkeletonDataset, addition: Addition) -> Listed:
    line = _line(addition.kind, addition.name, addition.modality, addition.n_clips)
    line["lacking"] = addition.lacking
    if addition.kind == "features":
        _, features = dataset.features(addition.name, addition.modality)
        line["numbers"] = features.shape[1]
        line["use"] = f"{addition.modality}_encoder={STORED}{addition.name}"
    return line


def _encoded(dataset: SkeletonDataset, cache_dir: Path) -> list[Listed]:
    found = []
    for modality in (Modality.RGB, Modality.INSTRUCT):
        if modality not in dataset.card.modalities:
            continue
        under = cache_dir / dataset.modality_identity(modality)[:16] / modality
        for folder in sorted(under.glob("*/*/")):
            clips, numbers, name, encoder = 0, 0, "", ""
            for path in folder.glob("*.safetensors"):
                try:
                    with safe_open(path, framework="np") as file:
                        n_clips, numbers = file.get_slice("features").get_shape()
                        header = file.metadata() or {}
                        name, encoder = _name(header), header.get("encoder", "")
                except (SafetensorError, OSError, ValueError):
                    continue
                clips += n_clips
            if name:
                line = _line("encoded", name, modality, clips)
                line["numbers"] = numbers
                line["use"] = f"{modality}_encoder={encoder}"
                found.append(line)
    return found


def _name(header: Mapping[str, str]) -> str:
    """The encoder, with device and batch where they are not those of a run."""
    encoder, device, batch = (header.get(key, "") for key in ("encoder", "device", "batch"))
    return encoder if (device, batch) == ("cpu", "1") else f"{encoder} {made_on(device, batch)}"


def _line(kind: str, name: str, modality: Modality, clips: int) -> Listed:
    return Listed(kind=kind, name=name, modality=str(modality), clips=clips, lacking={}, numbers=None, use="")
