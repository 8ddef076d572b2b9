"""Asking a multimodal language model about the strip of every clip of a data set.

Answers lie in the cache in files of 32 clips each, under the strips, the model's weights and settings, and the
instructions, with the hidden states of every token. A run that is stopped goes on behind the last whole file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.encoders.cache import Progress, folder_name, read_arrays, write_arrays
from mmcl_bench.encoders.features import batched, require_all, strips_of
from mmcl_bench.encoders.multimodal import Answer, Asked
from mmcl_bench.skeleton.clips import Modality

BLOCK = 32
"""Clips in one file of answers."""
WHETHER = "Whether the {target} are {action}?"
DESCRIBE = "Please describe the {target}."
INSTRUCTIONS = (
    WHETHER.format(target="people", action="holding an object"),
    WHETHER.format(target="people", action="interacting"),
    *(DESCRIBE.format(target=target) for target in ("head", "hands", "torso", "legs")),
)
"""Of the form of MMCL's (Liu, Chen and Liu, ACM MM 2024), for any data set."""
_WIDEST_HALF = 6e4


@dataclass(frozen=True)
class AnsweredClip:
    """The answers about one clip, in the order of the instructions."""

    row: int
    """In the index."""
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class AnswerCache:
    """Where the answers of one model to some instructions about the strips of a data set lie."""

    cache_dir: Path
    strips: str
    """What the strips are: sha256 in hex."""
    model: dict[str, str]
    """As :meth:`MultimodalModel.identity` says."""
    instructions: tuple[str, ...]

    @property
    def folder(self) -> Path:
        asked = hashlib.sha256(json.dumps([self.model, self.instructions]).encode()).hexdigest()
        model = folder_name(self.model["encoder"], self.model["weights"])
        return self.cache_dir / "answers" / self.strips[:16] / model / asked[:12]

    def read(self, block: int) -> list[AnsweredClip] | None:
        """A block that was asked; None where none is, or a damaged one."""
        arrays = read_arrays(self._path(block), self._identity)
        return None if arrays is None else list(self._clips(arrays))

    def write(self, block: int, clips: Sequence[AnsweredClip]) -> None:
        answers = [answer for clip in clips for answer in clip.answers]
        tokens = np.concatenate([answer.tokens for answer in answers])
        half = np.abs(tokens).max(initial=0) < _WIDEST_HALF
        arrays: dict[str, np.ndarray] = {
            "rows": np.array([clip.row for clip in clips], dtype=np.int64),
            "texts": np.frombuffer(json.dumps([answer.text for answer in answers]).encode(), dtype=np.uint8),
            "lengths": np.array([len(answer.tokens) for answer in answers], dtype=np.int64),
            "tokens": tokens.astype(np.float16 if half else np.float32),
            "pooled": np.stack([answer.pooled for answer in answers]).astype(np.float32),
        }
        write_arrays(self._path(block), arrays, self._identity)

    def _clips(self, arrays: dict[str, np.ndarray]) -> Iterator[AnsweredClip]:
        texts = json.loads(arrays["texts"].tobytes())
        tokens = np.split(arrays["tokens"].astype(np.float32), np.cumsum(arrays["lengths"])[:-1])
        answers = [Answer(*each) for each in zip(texts, tokens, arrays["pooled"], strict=True)]
        for row, of_clip in zip(arrays["rows"].tolist(), batched(answers, len(self.instructions)), strict=True):
            yield AnsweredClip(row, tuple(of_clip))

    @property
    def _identity(self) -> dict[str, str]:
        return {**self.model, "strips": self.strips, "instructions": json.dumps(self.instructions)}

    def _path(self, block: int) -> Path:
        return self.folder / f"{block:06d}.safetensors"


def ask(
    dataset: SkeletonDataset,
    rows: Sequence[int],
    model: Asked,
    instructions: Sequence[str],
    cache_dir: Path,
    batch: int = 1,
    progress: Progress | None = None,
) -> Iterator[AnsweredClip]:
    """The answers about the strips of some index rows, ascending. What was asked before is read.

    ``batch`` clips are asked together; more than one may change the last digits of hidden states. Raises
    :class:`UserError` for a clip without a strip.
    """
    if not instructions:
        raise UserError("a model that is asked nothing answers nothing; give one --instruction or more")
    require_all(dataset, rows, dataset.card.addition("strips"))
    cache = answer_cache(dataset, model.identity(), instructions, cache_dir)
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    done = 0
    for block in np.unique(wanted // BLOCK).tolist():
        of_block = wanted[wanted // BLOCK == block].tolist()
        clips = cache.read(block)
        if clips is None or [clip.row for clip in clips] != of_block:
            clips = _asked(dataset, of_block, model, instructions, batch)
            cache.write(block, clips)
        yield from clips
        done += len(of_block)
        if progress is not None:
            progress(done, len(wanted))


def answer_cache(
    dataset: SkeletonDataset, model: dict[str, str], instructions: Sequence[str], cache_dir: Path
) -> AnswerCache:
    """Where the answers of a model about the strips that the set has now lie."""
    return AnswerCache(cache_dir, dataset.modality_identity(Modality.RGB), model, tuple(instructions))


def token_features(dataset: SkeletonDataset, name: str, cache_dir: Path) -> Iterator[AnsweredClip]:
    """All that was kept of the answers behind the features ``stored:<name>``: text, token features, pooled states.

    Raises :class:`UserError` when these are no answers, or the cache was emptied since.
    """
    addition = dataset.card.addition("features", name, Modality.INSTRUCT)
    if addition is None or "model" not in addition.made:
        raise UserError(f"{dataset.card.name}: no model was asked as {name!r}; see mmcl-bench features list")
    cache = answer_cache(dataset, addition.made["model"], addition.made["instructions"], cache_dir)
    rows, _ = dataset.features(name, Modality.INSTRUCT)
    for block in np.unique(rows // BLOCK).tolist():
        clips = cache.read(block)
        if clips is None:
            raise UserError(
                f"{cache.folder}: answers are not in the cache any more; run mmcl-bench features build again"
            )
        yield from clips


def _asked(
    dataset: SkeletonDataset, rows: list[int], model: Asked, instructions: Sequence[str], batch: int
) -> list[AnsweredClip]:
    clips: list[AnsweredClip] = []
    for some in batched(zip(rows, strips_of(dataset, rows), strict=True), batch):
        strips: list[Any] = [strip for _, strip in some]
        by_instruction = [model.ask(strips, instruction) for instruction in instructions]
        clips += [
            AnsweredClip(row, answers)
            for (row, _), answers in zip(some, zip(*by_instruction, strict=True), strict=True)
        ]
    return clips
