"""Whether a prepared set is still what was prepared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted, sorted_names
from mmcl_bench.datasets.audit.sequential import read_through
from mmcl_bench.datasets.store import CARD, INDEX, TRACKS, SkeletonDataset, content_hash, fingerprint
from mmcl_bench.skeleton.clips import Modality

Advance = Callable[[int, int], None]
"""Called with the clips that are checked and all of them."""
_CLIPS_A_STEP = 64


def verify(folder: Path, advance: Advance) -> SkeletonDataset:
    """Reads every byte that matters of the prepared set in ``folder`` and compares it with its fingerprint.

    Raises :class:`UserError` that names the file, and the clip where it is one, when something differs.
    """
    dataset = SkeletonDataset.open(folder)
    try:
        _verify_index(dataset)
        _verify_clips(dataset, advance)
        found = fingerprint(dataset)
    # What a damaged table holds may be of any type and length.
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError, pa.ArrowException) as error:
        raise _differs(
            dataset, "its tables", f"do not hold what a prepared set holds ({type(error).__name__})"
        ) from error
    if found != dataset.card.fingerprint:
        raise _differs(dataset, _rest(dataset), "differ from what was prepared: the fingerprint is another one")
    return dataset


def prepared_folders(root: Path) -> list[Path]:
    """The prepared sets under a data root, by name."""
    return sorted(card.parent for card in root.glob(f"*/{CARD}") if not card.parent.name.startswith("."))


def _verify_index(dataset: SkeletonDataset) -> None:
    sample_ids = dataset.index["sample_id"]
    if len(sample_ids) != dataset.card.n_clips:
        raise _differs(
            dataset, INDEX, f"holds {counted(len(sample_ids), 'clip')}; {CARD} tells of {dataset.card.n_clips}"
        )
    if sample_ids.tolist() != sorted_names(sample_ids) or not sample_ids.is_unique:
        raise _differs(dataset, INDEX, "is not in the order of sample_id")
    n_bodies = dataset.index["track_start"].map(len)
    if (wrong := n_bodies != dataset.index["n_bodies"]).any():
        raise _differs(dataset, INDEX, f"counts the bodies of {sample_ids[wrong].iloc[0]} wrongly")


def _verify_clips(dataset: SkeletonDataset, advance: Advance) -> None:
    """Compares each clip with its content hash."""
    total, changed = len(dataset.index), []
    for clip in read_through(dataset):
        if content_hash(clip.n_frames, clip.bodies) != clip.content:
            changed.append(clip.sample_id)
        if (done := clip.row + 1) % _CLIPS_A_STEP == 0 or done == total:
            advance(done, total)
    if changed:
        which = changed[0] if len(changed) == 1 else f"{len(changed)} clips, the first of them {changed[0]}"
        raise _differs(dataset, TRACKS, f"differs from what was prepared in {which}")


def _rest(dataset: SkeletonDataset) -> str:
    """What is left to differ when every clip is as it was."""
    others = [f"{modality}.parquet" for modality in dataset.card.modalities if modality != Modality.SKELETON]
    return " or ".join([INDEX, *others, CARD])


def _differs(dataset: SkeletonDataset, what: str, how: str) -> UserError:
    card = dataset.card
    prepared_as = "" if card.name == card.reader else f" --as {card.name}"
    return UserError(f"{dataset.folder}: {what} {how}; run mmcl-bench data prepare {card.reader}{prepared_as} again")
