"""Putting strips, answers and features beside the clips of a prepared set.

An addition is a file in the set's folder and an entry in its card. The file is written first, under a name that
follows from its content; the card, which is replaced in one step, makes it part of the set. What the set was before
can be read until then. The fingerprint of the set covers its additions.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_text
from mmcl_bench.datasets.parts import write_answers, write_images
from mmcl_bench.datasets.prepare import sole_writer
from mmcl_bench.datasets.store import CARD, Addition, DatasetCard, SkeletonDataset, addition_hash, fingerprint
from mmcl_bench.skeleton.clips import Modality

Images = Sequence[Callable[[], Sequence[bytes | None]]]
"""Each reads the images of a group of clips, None for a clip without one; all but the last are of
:data:`mmcl_bench.datasets.store.IMAGES_A_GROUP` clips."""
_STRIPS_HASH = "strips"


def add_strips(dataset: SkeletonDataset, groups: Images, lacking: Mapping[str, str], made: dict[str, Any]) -> Addition:
    """Gives the set one image a clip, as groups in the order of its index.

    What was made of other strips that the set had, such as answers, is taken off. Raises :class:`UserError` for a set
    whose published files bring images.
    """

    def write(path: Path) -> None:
        write_images(path, (group() for group in groups))

    require_none_of_its_own(dataset, Modality.RGB)
    return _attach(dataset, "strips", "strips", Modality.RGB, write, ".parquet", lacking, made)


def add_answers(
    dataset: SkeletonDataset,
    answers: Sequence[tuple[str, str, str]],
    lacking: Mapping[str, str],
    made: dict[str, Any],
) -> Addition:
    """Gives the set (sample_id, instruction, answer) in the place of other answers that were added before.

    Raises :class:`UserError` for a set whose published files bring answers.
    """

    def write(path: Path) -> None:
        write_answers(path, answers)

    require_none_of_its_own(dataset, Modality.INSTRUCT)
    return _attach(dataset, "answers", "answers", Modality.INSTRUCT, write, ".parquet", lacking, made)


def add_features(
    dataset: SkeletonDataset,
    name: str,
    modality: Modality,
    rows: np.ndarray,
    features: np.ndarray,
    lacking: Mapping[str, str],
    made: dict[str, Any],
) -> Addition:
    """Gives the set features float32 (n, D) of the index rows int64 (n,), ascending, under a name."""

    def write(path: Path) -> None:
        arrays = {"rows": rows.astype(np.int64), "features": features.astype(np.float32)}
        save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, path)

    return _attach(dataset, "features", name, modality, write, ".safetensors", lacking, made)


def require_none_of_its_own(dataset: SkeletonDataset, modality: Modality) -> None:
    """Raises :class:`UserError` for a set whose published files bring a modality: it stays as it was published."""
    if dataset.card.brings(modality):
        raise UserError(f"{dataset.card.name} brings its own {modality} data, which is not replaced")


def _attach(
    dataset: SkeletonDataset,
    kind: Literal["strips", "answers", "features"],
    name: str,
    modality: Modality,
    write: Callable[[Path], None],
    suffix: str,
    lacking: Mapping[str, str],
    made: dict[str, Any],
) -> Addition:
    folder = dataset.folder
    stem = "-".join(dict.fromkeys((kind, modality, name))) if kind == "features" else kind
    draft = folder / f".{stem}.draft-{secrets.token_hex(4)}"
    with sole_writer(folder):
        current = SkeletonDataset.open(folder)
        if current.index["sample_id"].tolist() != dataset.index["sample_id"].tolist():
            raise UserError(f"{folder}: was prepared again meanwhile; run the same command again")
        for left in folder.glob(f".{stem}.draft-*"):
            left.unlink()
        try:
            write(draft)
            new = Addition(
                kind=kind,
                name=name,
                modality=modality,
                file=draft.name,
                sha256="",
                n_clips=len(dataset.index) - len(lacking),
                lacking=dict(lacking),
                made=made,
            )
            content = addition_hash(SkeletonDataset(folder, _with(current.card, new)), new)
            new = new.model_copy(update={"sha256": content, "file": f"{stem}-{content[:12]}{suffix}"})
            draft.replace(folder / new.file)
        finally:
            draft.unlink(missing_ok=True)
        _commit(current, _with(current.card, new))
    return new


def _commit(current: SkeletonDataset, card: DatasetCard) -> None:
    """Replaces the card, and removes the files that no card names any more."""
    folder = current.folder
    card = card.model_copy(update={"fingerprint": fingerprint(SkeletonDataset(folder, card))})
    write_text(folder / CARD, card.model_dump_json(indent=2) + "\n")
    for former in {each.file for each in current.card.additions} - {each.file for each in card.additions}:
        (folder / former).unlink(missing_ok=True)


def _with(card: DatasetCard, new: Addition) -> DatasetCard:
    """The card with an addition in the place of the former one of its kind and name."""
    others = [
        each
        for each in card.additions
        if (each.kind, each.name, each.modality) != (new.kind, new.name, new.modality)
        and not (new.kind == "strips" and each.made.get(_STRIPS_HASH) not in (None, new.sha256))
    ]
    additions = sorted([*others, new], key=lambda each: (each.kind, each.name, each.modality))
    own = card.own_modalities or card.modalities
    brought = {*own, *(each.modality for each in additions)}
    return card.model_copy(
        update={
            "additions": tuple(additions),
            "own_modalities": own,
            "own_fingerprint": card.own_fingerprint or card.fingerprint,
            "modalities": tuple(modality for modality in Modality if modality in brought),
        }
    )
