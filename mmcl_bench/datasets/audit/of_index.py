"""What the card and the index of a prepared set give away: duplicates, sides, classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from mmcl_bench.core.text import counted
from mmcl_bench.datasets.audit.checks import LONG, RARE, SHORT, Example, Finding, found
from mmcl_bench.datasets.prepare import duplicates
from mmcl_bench.datasets.store import DatasetCard, Side, SkeletonDataset, each_subject

_REGULAR = 0.9
"""Part of all pairs of subject and class with one number of clips, from which that number is the plan."""
_USUAL_CLASS = 5
"""Clips of a class, from which its median length says something."""


def index_findings(dataset: SkeletonDataset) -> Iterator[Finding]:
    """All that can be found without looking at a pose."""
    card, index = dataset.card, dataset.index
    yield from _of_card(card)
    yield from _duplicate_labels(card, index)
    for name, side in card.sides.items():
        yield from _of_side(dataset, name, side)
    yield from _of_classes(card, index)
    yield from _lengths(index)


def _of_card(card: DatasetCard) -> Iterator[Finding]:
    copy = card.completeness
    if copy is not None and not copy.is_whole:
        n_missing = copy.published - copy.present
        missing = [
            Example(card.name, f"{copy}{'; ' if copy.details else ''}{copy.details}"),
            *map(Example, copy.missing),
        ]
        yield from found("incomplete", copy.published, f"published {copy.counted}", missing, count=n_missing)
    n_read = card.n_clips + len(card.skipped)
    left_out = [Example(file, reason) for file, reason in card.skipped.items()]
    yield from found("left-out", n_read, "clips or files", left_out)
    noted = [Example(file, what) for file, what in card.noted.items()]
    yield from found("known-faults", None, "known to the reader", noted)
    if card.frame_rate is None:
        yield from found(
            "frame-rate", None, "set", [Example(card.name, "the reader knows no frame rate that holds for all")]
        )


def _duplicate_labels(card: DatasetCard, index: pd.DataFrame) -> Iterator[Finding]:
    groups = _equal_clips(index)
    unlike = groups[groups.groupby("content")["label"].transform("nunique") > 1]
    examples = [
        Example(clips["sample_id"].iloc[0], "also " + _listed(_as_class(card, clip) for clip in clips[1:].itertuples()))
        for clips in (group for _, group in unlike.groupby("content", sort=False))
    ]
    yield from found("duplicate-labels", len(index), "clips", examples, count=len(unlike))


def _of_side(dataset: SkeletonDataset, name: str, side: Side) -> Iterator[Finding]:
    card, index = dataset.card, dataset.index
    train, test = side.masks(index)
    across: dict[str, list[str]] = {}
    for twin, sample_id in duplicates(dataset, name):
        across.setdefault(sample_id, []).append(twin)
    labels = dict(zip(index["sample_id"], index["label"], strict=True))
    examples = [
        Example(test_id, f"equals {_listed(twins)}; class {card.classes[labels[test_id]]}")
        for test_id, twins in across.items()
    ]
    yield from found("duplicates-across", int(test.sum()), "test clips", examples, name)
    examples = [
        Example(sample_id, f"equals {first}; {where}")
        for where, mask in (("training", train), ("test", test))
        for sample_id, first in _repeats(index[mask])
    ]
    yield from found("duplicates-within", int((train | test).sum()), "clips", examples, name)
    yield from _clips(index[train & test], "both-sides", len(index), name)
    yield from _clips(index[~train & ~test], "neither-side", len(index), name)
    yield from _subjects(index, train, test, name, side)
    trained, tested = set(index["label"][train]), set(index["label"][test])
    for kind, labels_found in (("untrained-classes", tested - trained), ("untested-classes", trained - tested)):
        classes = [Example(card.classes[label], f"label {label}") for label in sorted(labels_found)]
        yield from found(kind, len(tested | trained), "classes", classes, name)


def _clips(clips: pd.DataFrame, kind: str, of: int, side: str) -> list[Finding]:
    return found(kind, of, "clips", [Example(sample_id) for sample_id in clips["sample_id"]], side)


def _subjects(index: pd.DataFrame, train: np.ndarray, test: np.ndarray, name: str, side: Side) -> list[Finding]:
    trained, tested = (each_subject(index[mask])["subject"] for mask in (train, test))
    n_subjects = each_subject(index)["subject"].nunique()
    # A set that numbers nobody has the subject 0 alone.
    if side.column == "subject" or n_subjects < 2:
        return []
    kind = "subjects-across" if side.column == "fold" else "subjects-across-by-design"
    examples = [
        Example(
            f"subject {subject}",
            f"{(trained == subject).sum()} training clips, {(tested == subject).sum()} test clips",
        )
        for subject in sorted(set(trained) & set(tested))
    ]
    return found(kind, n_subjects, "subjects", examples, name)


def _of_classes(card: DatasetCard, index: pd.DataFrame) -> Iterator[Finding]:
    counts = index["label"].value_counts().reindex(range(len(card.classes)), fill_value=0).sort_index()
    absent = [Example(card.classes[label], f"label {label}") for label in counts.index[counts == 0]]
    yield from found("absent-classes", len(counts), "classes", absent)
    median = float(counts[counts > 0].median())
    rare = counts[(counts > 0) & (counts < RARE * median)].sort_values()
    examples = [
        Example(card.classes[label], f"{counted(n, 'clip')}; the median class has {median:g}")
        for label, n in rare.items()
    ]
    yield from found("rare-classes", len(counts), "classes", examples)
    yield from _gaps(card, index)


def _gaps(card: DatasetCard, index: pd.DataFrame) -> list[Finding]:
    """Subjects and classes with another number of clips, where there is a plain plan."""
    people = each_subject(index)
    cells = pd.crosstab(people["subject"], people["label"])
    usual = int(cells.stack().mode().iloc[0])
    irregular = cells.stack()[lambda n: n != usual]
    if len(irregular) > (1 - _REGULAR) * cells.size or cells.shape[0] < 2:
        return []
    examples = [
        Example(f"subject {subject}, {card.classes[label]}", f"{counted(n, 'clip')}; others {usual}")
        for (subject, label), n in irregular.items()
    ]
    return found("gaps", cells.size, "pairs of subject and class", examples)


def _lengths(index: pd.DataFrame) -> Iterator[Finding]:
    total, frames = len(index), index["n_frames"]
    yield from found("one-frame", total, "clips", [Example(name) for name in index["sample_id"][frames == 1]])
    yield from found(
        "short", total, "clips", _with_frames(index[(frames > 1) & (frames < SHORT)].sort_values("n_frames"))
    )
    of_class = index.groupby("label")["n_frames"]
    usual = of_class.transform("median").where(of_class.transform("size") >= _USUAL_CLASS, np.inf)
    long = index.assign(times=frames / usual)[lambda clips: clips["times"] > LONG].sort_values("times", ascending=False)
    examples = [
        Example(clip.sample_id, f"{counted(clip.n_frames, 'frame')}, {clip.times:.1f} times the median of its class")
        for clip in long.itertuples()
    ]
    yield from found("long", total, "clips", examples)
    shortest = index["track_length"].map(min)
    brief = index[(shortest < SHORT) & (index["track_length"].map(max) >= SHORT)]
    examples = [
        Example(clip.sample_id, f"bodies of {_listed(clip.track_length)} frames") for clip in brief.itertuples()
    ]
    yield from found("brief-bodies", total, "clips", examples)


def _with_frames(clips: pd.DataFrame) -> list[Example]:
    return [Example(clip.sample_id, f"{counted(clip.n_frames, 'frame')}") for clip in clips.itertuples()]


def _equal_clips(index: pd.DataFrame) -> pd.DataFrame:
    """The clips that are not the only ones with their content."""
    return index[index["content"].duplicated(keep=False)]


def _repeats(clips: pd.DataFrame) -> list[tuple[str, str]]:
    """(clip, the first that equals it) for every clip but the first of those that are equal."""
    equal = _equal_clips(clips)
    first = equal.groupby("content")["sample_id"].transform("first")
    again = equal["sample_id"] != first
    return list(zip(equal["sample_id"][again], first[again], strict=True))


def _as_class(card: DatasetCard, clip: Any) -> str:
    return f"{clip.sample_id} as {card.classes[clip.label]}"


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)
