"""Frozen features of a data set's other modalities, one row a clip, through the cache."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mmcl_bench.encoders import image_encoder, text_encoder
from mmcl_bench.encoders.cache import FeatureCache, Progress
from mmcl_bench.errors import UserError
from mmcl_bench.skeleton.store import Modality, SkeletonDataset

if TYPE_CHECKING:
    import pandas as pd

LONGEST_SIDE = 8192
"""Pixels. A larger image is refused before it is decoded."""


def rgb_features(
    dataset: SkeletonDataset, rows: Sequence[int], spec: str, cache_dir: Path, progress: Progress | None = None
) -> tuple[np.ndarray, str]:
    """float32 (len(rows), D) and the sha256 of the weights: the image encoder over the strips of the given index rows.

    Raises :class:`UserError` for a data set without images, and for a clip whose image is missing or bad.
    """
    _require(dataset, Modality.RGB)
    encoder = image_encoder(spec)
    sample_ids = dataset.index.sample_id

    def compute(missing: list[int]) -> np.ndarray:
        images = zip(missing, dataset.images(missing), strict=True)
        named = ((encoded, f"{dataset.card.name}: clip {sample_ids.iloc[row]}") for row, encoded in images)
        return np.concatenate([encoder.encode([decode(encoded, whose)]) for encoded, whose in named])

    cached = FeatureCache(cache_dir, dataset.card.fingerprint, Modality.RGB, encoder.name, encoder.weight_hash)
    return cached.features(rows, compute, progress), encoder.weight_hash


def instruct_features(
    dataset: SkeletonDataset, rows: Sequence[int], spec: str, cache_dir: Path, progress: Progress | None = None
) -> tuple[np.ndarray, str]:
    """float32 (len(rows), D) and the sha256 of the weights: by row, the mean of the text encoder over its answers.

    An answer is encoded together with its instruction, and one that several clips share is encoded once.
    Raises :class:`UserError` for a data set without answers, and for a clip that has none.
    """
    _require(dataset, Modality.INSTRUCT)
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

    cached = FeatureCache(cache_dir, dataset.card.fingerprint, Modality.INSTRUCT, encoder.name, encoder.weight_hash)
    return cached.features(rows, compute, progress), encoder.weight_hash


EXTRACTORS = {Modality.RGB: rgb_features, Modality.INSTRUCT: instruct_features}
"""How features are extracted, by modality."""


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


def _require(dataset: SkeletonDataset, modality: Modality) -> None:
    if modality not in dataset.card.modalities:
        raise UserError(f"{dataset.card.name} has no {modality} data; choose a method or preset that does without")
