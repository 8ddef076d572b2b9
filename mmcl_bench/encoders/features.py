"""Frozen features of a data set's other modalities, one row a clip: of an encoder, through the cache, or stored.

The spec ``stored:<name>`` stands for no encoder, but for features that ``mmcl-bench features`` put with the data set.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import some_of
from mmcl_bench.datasets.store import Addition, SkeletonDataset
from mmcl_bench.encoders import ImageEncoder, image_encoder, on_device, text_encoder
from mmcl_bench.encoders.cache import FeatureCache, Progress, made_on
from mmcl_bench.skeleton.clips import Modality

if TYPE_CHECKING:
    import pandas as pd

_Item = TypeVar("_Item")
LONGEST_SIDE = 8192
"""Pixels. A larger image is refused before it is decoded."""
STORED = "stored:"
"""What the spec of features that stand with a data set begins with."""


class Features(NamedTuple):
    """Features of some clips, and what they are of."""

    values: np.ndarray
    """float32 (N, D)."""
    weight_hash: str
    """sha256 of the encoder's weights, or of features that stand with a set."""
    made: str = ""
    """What changes their last digits, in words, where it is not the usual: ``on cuda, 16 at once``."""


def rgb_features(
    dataset: SkeletonDataset, rows: Sequence[int], spec: str, cache_dir: Path, progress: Progress | None = None
) -> Features:
    """The image encoder over the strips of the given index rows, one at a time on the CPU.

    Where these are not in the cache, but :func:`encode_strips` left all of the rows there as another device or batch
    makes them, those are taken. Raises :class:`UserError` for a data set without images, and for clips whose image is
    missing or bad.
    """
    require_modality(dataset, Modality.RGB)
    if spec.startswith(STORED):
        return stored_features(dataset, rows, spec, Modality.RGB)
    usual = _strip_cache(dataset, image_encoder(spec), cache_dir)
    for cached in (usual, *usual.made_otherwise()):
        if (values := cached.stored(rows)) is not None:
            return Features(values, cached.weight_hash, "" if cached == usual else made_on(cached.device, cached.batch))
    return encode_strips(dataset, rows, spec, cache_dir, progress)


def encode_strips(
    dataset: SkeletonDataset,
    rows: Sequence[int],
    spec: str,
    cache_dir: Path,
    progress: Progress | None = None,
    device: str = "cpu",
    batch: int = 1,
) -> Features:
    """Fills the cache with what the image encoder makes of the strips of the given index rows.

    Batches of more than one clip are faster on a GPU; they change features in the last digits, as does the device.
    Raises :class:`UserError` as :func:`rgb_features` does.
    """
    require_modality(dataset, Modality.RGB)
    if spec.startswith(STORED):
        return stored_features(dataset, rows, spec, Modality.RGB)
    require_all(dataset, rows, dataset.card.addition("strips"))
    encoder = on_device(image_encoder(spec), device, spec)

    def compute(missing: list[int]) -> np.ndarray:
        strips = strips_of(dataset, missing)
        return np.concatenate([encoder.encode(some) for some in batched(strips, batch)])

    cached = _strip_cache(dataset, encoder, cache_dir, device, batch)
    return Features(cached.features(rows, compute, progress), encoder.weight_hash)


def _strip_cache(
    dataset: SkeletonDataset, encoder: ImageEncoder, cache_dir: Path, device: str = "cpu", batch: int = 1
) -> FeatureCache:
    identity = dataset.modality_identity(Modality.RGB)
    kind = device.partition(":")[0]
    return FeatureCache(cache_dir, identity, Modality.RGB, encoder.name, encoder.weight_hash, kind, batch)


def strips_of(dataset: SkeletonDataset, rows: Sequence[int]) -> Iterator[Image.Image]:
    """The decoded strips of some index rows, one at a time. Raises :class:`UserError` for one missing or bad."""
    sample_ids = dataset.index.sample_id
    for row, encoded in zip(rows, dataset.images(rows), strict=True):
        yield decode(encoded, f"{dataset.card.name}: clip {sample_ids.iloc[row]}")


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of ``size`` items; the last may have fewer."""
    remaining = iter(items)
    while some := list(islice(remaining, size)):
        yield some


def instruct_features(
    dataset: SkeletonDataset, rows: Sequence[int], spec: str, cache_dir: Path, progress: Progress | None = None
) -> Features:
    """By row, the mean of the text encoder over its answers.

    An answer is encoded together with its instruction, and one that several clips share is encoded once.
    Raises :class:`UserError` for a data set without answers, and for a clip that has none.
    """
    require_modality(dataset, Modality.INSTRUCT)
    if spec.startswith(STORED):
        return stored_features(dataset, rows, spec, Modality.INSTRUCT)
    require_all(dataset, rows, dataset.card.addition("answers"))
    encoder = text_encoder(spec)
    sample_ids = dataset.index.sample_id

    @cache
    def sentences() -> dict[str, list[str]]:
        return sentences_by_clip(dataset.answers())

    @cache
    def encoded(sentence: str) -> np.ndarray:
        return encoder.encode([sentence])

    def mean(sample_id: str) -> Any:
        if sample_id not in sentences():
            raise UserError(f"{dataset.card.name}: clip {sample_id} has no answer; prepare the data set again")
        return np.concatenate([encoded(sentence) for sentence in sentences()[sample_id]]).mean(axis=0, keepdims=True)

    def compute(missing: list[int]) -> np.ndarray:
        return np.concatenate([mean(sample_id) for sample_id in sample_ids.iloc[missing]])

    identity = dataset.modality_identity(Modality.INSTRUCT)
    cached = FeatureCache(cache_dir, identity, Modality.INSTRUCT, encoder.name, encoder.weight_hash)
    return Features(cached.features(rows, compute, progress), encoder.weight_hash)


EXTRACTORS = {Modality.RGB: rgb_features, Modality.INSTRUCT: instruct_features}
"""How features are extracted, by modality."""


def stored_features(dataset: SkeletonDataset, rows: Sequence[int], spec: str, modality: Modality) -> Features:
    """Features that stand with the set under ``stored:<name>``.

    Raises :class:`UserError` when there are none of that name, and for clips that have none.
    """
    name = spec.removeprefix(STORED)
    stored, features = dataset.features(name, modality)
    addition = dataset.card.addition("features", name, modality)
    if addition is None:
        raise ValueError(f"{dataset.card.name}: features of {name} without a card")
    require_all(dataset, rows, addition)
    chosen: np.ndarray = features[np.searchsorted(stored, np.asarray(rows, dtype=np.int64))]
    return Features(chosen, addition.sha256)


def require_all(dataset: SkeletonDataset, rows: Sequence[int], addition: Addition | None) -> None:
    """Raises :class:`UserError` that names the clips of some index rows that an addition lacks, if it lacks any."""
    if addition is None or not addition.lacking:
        return
    lacking = sorted(set(dataset.index.sample_id.iloc[list(rows)]) & addition.lacking.keys())
    if lacking:
        what = f"no {addition.kind}" if addition.kind != "features" else f"no {addition.modality} features"
        switch = {Modality.RGB: "fam", Modality.INSTRUCT: "frm"}[addition.modality]
        raise UserError(
            f"{dataset.card.name}: {len(lacking)} of the clips to learn from have {what}: {some_of(lacking)} "
            f"({addition.lacking[lacking[0]]}); run mmcl-bench features again for them, or learn without, as with "
            f"--set {switch}=false"
        )


def sentences_by_clip(answers: pd.DataFrame) -> dict[str, list[str]]:
    """By sample_id, the clip's answers, each after its instruction, in the order of the table."""
    sentences = answers.instruction.str.strip() + " " + answers.answer.str.strip()
    return {str(sample_id): texts.tolist() for sample_id, texts in sentences.groupby(answers.sample_id, sort=False)}


def decode(encoded: bytes | None, whose: str) -> Image.Image:
    """An RGB image from PNG or JPEG bytes. Raises :class:`UserError` that names ``whose`` for anything else."""
    if encoded is None:
        raise UserError(f"{whose} has no image; prepare the data set again")
    try:
        image = Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG"))
        if max(image.size) > LONGEST_SIDE:
            raise UserError(
                f"{whose} has an image of {image.width}x{image.height}; scale it below {LONGEST_SIDE} pixels"
            )
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{whose} has an image that is no sound PNG or JPEG; prepare the data set again") from error


def require_modality(dataset: SkeletonDataset, modality: Modality) -> None:
    """Raises :class:`UserError` for a data set without a modality."""
    if modality not in dataset.card.modalities:
        raise UserError(
            f"{dataset.card.name} has no {modality} data; choose a method or preset that does without, or make them: "
            "mmcl-bench features build --help"
        )
