"""Whether a prepared set is the whole published one: what a whole copy holds against what is there."""

from __future__ import annotations

from collections.abc import Iterable

from mmcl_bench.datasets.readers import READERS, WholeCopy
from mmcl_bench.datasets.store import Completeness, SkeletonDataset

_MOST_NAMES = 100
"""Missing clips that a card names."""


def completeness_of(dataset: SkeletonDataset) -> Completeness | None:
    """What of the published set is there; None where nobody says how much a whole copy holds, and for generated sets.

    A clip that was left out for a fault that the published file itself has, as the reader knows, is there. One that is
    damaged in this copy alone is missing.
    """
    card = dataset.card
    reader = READERS.get(card.reader)(**card.settings) if card.reader in READERS and not card.synthetic else None
    whole = reader.whole_copy() if reader else None
    if whole is None and card.completeness is not None:
        # The owner of a set of one's own said how many clips it has.
        whole = WholeCopy(card.completeness.published, card.completeness.counted)
    if whole is None:
        return None
    found = set(dataset.index["sample_id"])
    found |= {clip for clip in whole.faulty if any(clip in name for name in card.skipped)}
    missing = sorted(reader.missing_clips(found)) if reader else []
    return Completeness(
        published=whole.count,
        present=whole.count - len(missing) if whole.sample_ids else min(_count(found, whole), whole.count),
        counted=whole.counted,
        missing=tuple(missing[:_MOST_NAMES]),
        sides={name: _of_side(dataset, name, whole) for name in whole.sides},
    )


def with_completeness(dataset: SkeletonDataset) -> SkeletonDataset:
    """The set, whose card says how complete it is also where it was written by a version that did not say so."""
    if dataset.card.completeness is not None or (found := completeness_of(dataset)) is None:
        return dataset
    return SkeletonDataset(dataset.folder, dataset.card.model_copy(update={"completeness": found}))


def _of_side(dataset: SkeletonDataset, name: str, whole: WholeCopy) -> tuple[tuple[int, int], tuple[int, int]]:
    clips = dataset.index["sample_id"]
    train, test = (_count(clips[mask], whole) for mask in dataset.card.sides[name].masks(dataset.index))
    return (train, whole.sides[name][0]), (test, whole.sides[name][1])


def _count(clips: Iterable[str], whole: WholeCopy) -> int:
    """Clips, or the videos that they were cut from."""
    return len({clip.rpartition("_")[0] if whole.counted == "videos" else clip for clip in clips})
