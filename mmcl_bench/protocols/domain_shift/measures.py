"""How far apart two prepared sets are, as a transfer task from the first to the second meets them.

Counts are of all clips. Poses are measured on clips drawn at random, in the joint layout of the first set; what is not
seen is filled as methods see it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.audit.clip_facts import Anatomy, measure
from mmcl_bench.datasets.prepare import Summary, summary
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.evaluation.domain_distance import proxy_a_distance, squared_mmd
from mmcl_bench.protocols.base import Rows, people_of_all
from mmcl_bench.protocols.dataset_facts import class_map, dataset_facts
from mmcl_bench.protocols.problem import ClipView, mapped_to_layout
from mmcl_bench.protocols.splits import SharedClass
from mmcl_bench.skeleton.joint_maps import joint_matrix
from mmcl_bench.skeleton.layouts import Layout, get_layout
from mmcl_bench.skeleton.transforms import OPENING, left_to_right, torso_of

_COLLAPSED = 1e-6
"""Torso length below which a body has no size."""


@dataclass(frozen=True)
class Spread:
    """Percentiles over clips."""

    low: float
    """The 5th."""
    median: float
    high: float
    """The 95th."""

    @classmethod
    def of(cls, values: np.ndarray) -> Spread:
        return cls(*(float(each) for each in np.percentile(values, [5, 50, 95])))

    def times(self, factor: float) -> Spread:
        return Spread(self.low * factor, self.median * factor, self.high * factor)


@dataclass(frozen=True)
class Poses:
    """Measured on the poses of some clips. Of a clip with several bodies, what has no plural is of the first."""

    clips: int
    """With a body whose torso has a length; the rest below is of these, but for the shares of what was not seen."""
    torso: Spread
    """Length from hip to the middle of the shoulders, in the set's unit."""
    distance: Spread
    """Of the hip from the origin, in the set's unit."""
    up: str
    """The axis, such as ``+y``, that most torsos are closest to."""
    lean: Spread
    """Degrees between the torso and +y."""
    heading: float | None
    """Degrees by which people are turned about the vertical, on average; 0: they face along -z, where the sensor of a
    Kinect is. Counter-clockwise from above. None in images, which have no depth."""
    heading_agreement: float | None
    """1: all face one way; 0: as many face each way as the opposite."""
    bones: dict[str, float]
    """Median length as share of the torso, of left and right together."""
    empty_frames: float
    """Share of the frames in which nobody is seen."""
    unseen_joints: float
    """Share of the joints that are not seen, of bodies that are, before they are filled."""


@dataclass(frozen=True)
class SetFacts:
    """One of the sets."""

    summary: Summary
    unit: str
    frame_rate: float | None
    frames: Spread
    seconds: Spread | None
    """None where the frame rate is not known."""
    poses: Poses


@dataclass(frozen=True)
class ClassClips:
    """Clips of a class that both sets have."""

    name: str
    first: int
    second: int


@dataclass(frozen=True)
class Distance:
    """Of the normalised features of some clips of each set."""

    clips: tuple[int, int]
    by_person: tuple[bool, bool]
    """Whether the classifier is tested on other people than it learned from; on other clips where a set tells no
    people apart."""
    proxy_a: float
    """0: a linear classifier cannot tell the sets apart; 2: it makes no error."""
    squared_mmd: float


@dataclass(frozen=True)
class Drawn:
    """What a picture shows of one set."""

    name: str
    lengths: np.ndarray
    """(N,): frames of each clip."""
    headings: np.ndarray
    """(C,): degrees."""
    features: np.ndarray
    """(M, D)."""


@dataclass(frozen=True)
class DomainShift:
    """Two sets side by side."""

    first: SetFacts
    second: SetFacts
    layout: str
    """The joint layout of the comparison."""
    shared_classes: tuple[ClassClips, ...]
    class_imbalance: float | None
    """Total variation distance of how the clips of shared classes are divided among these: 0 alike, 1 disjoint; None
    without shared classes."""
    all_clips: Distance
    same_classes: Distance | None
    """Of as many clips of each shared class in both sets, so that a difference is none of classes; None where there are
    too few."""
    drawn: tuple[Drawn, ...] = field(repr=False)
    """One a set."""

    def as_json(self) -> dict[str, Any]:
        """The figures in plain values."""
        figures = asdict(self)
        del figures["drawn"]
        return figures


def compare(
    sets: Sequence[SkeletonDataset], data_root: Path, features: Callable[[ClipView], np.ndarray], limit: int
) -> DomainShift:
    """Measures two sets; ``features`` gives (N, D) for clips, ``limit`` is the clips of each whose poses are measured.

    Raises :class:`UserError` for sets that are one, are too small, or have joint layouts without a map.
    """
    first, second = sets
    _require_two(first, second)
    # Before anything is measured, as it refuses layouts that have too little in common.
    joint_matrix(second.card.layout, first.card.layout)
    layout = get_layout(first.card.layout)
    draw = np.random.default_rng(0)
    rows = [np.sort(draw.permutation(len(each.index))[:limit]) for each in sets]
    views = [_view(each, of_set, layout) for each, of_set in zip(sets, rows, strict=True)]
    measured = [_measured(*of_set) for of_set in zip(sets, rows, views, strict=True)]
    shared = class_map(*(dataset_facts(each.card.name, data_root) for each in sets)).shared
    classes = _class_clips(sets, shared)
    of_all = [features(view) for view in views]
    alike = _same_classes(sets, shared, limit, draw)
    same_classes = None
    if len(alike[0]) > 1:
        of_same = [features(_view(each, of_set, layout)) for each, of_set in zip(sets, alike, strict=True)]
        same_classes = _distance(sets, alike, of_same)
    return DomainShift(
        first=measured[0].facts,
        second=measured[1].facts,
        layout=layout.name,
        shared_classes=classes,
        class_imbalance=_imbalance(classes),
        all_clips=_distance(sets, rows, of_all),
        same_classes=same_classes,
        drawn=tuple(
            Drawn(each.card.name, each.index["n_frames"].to_numpy(), found.headings, of_set)
            for each, found, of_set in zip(sets, measured, of_all, strict=True)
        ),
    )


def _require_two(first: SkeletonDataset, second: SkeletonDataset) -> None:
    names = first.card.name, second.card.name
    if names[0] == names[1]:
        raise UserError(f"{names[0]}: compared with itself; give the names of two data sets")
    if len({each.card.own_fingerprint or each.card.fingerprint for each in (first, second)}) == 1:
        raise UserError(f"{names[0]} and {names[1]} hold the same clips; give two different data sets")
    for each in (first, second):
        if len(each.index) < 2:
            raise UserError(
                f"{each.card.name}: has one clip; a comparison needs two or more, so prepare more of the set"
            )


def _view(dataset: SkeletonDataset, rows: np.ndarray, layout: Layout) -> ClipView:
    clips = [dataset.bodies(int(row)) for row in rows]
    view = ClipView(clips, dataset.index["n_frames"].to_numpy()[rows].tolist(), dataset.card.layout)
    return mapped_to_layout(view, layout)


class _Measured(NamedTuple):
    facts: SetFacts
    headings: np.ndarray
    """(C,): degrees, of the clips that have one."""


def _measured(dataset: SkeletonDataset, rows: np.ndarray, view: ClipView) -> _Measured:
    card, frames = dataset.card, Spread.of(dataset.index["n_frames"].to_numpy())
    poses, headings = _poses(dataset, rows, view)
    seconds = frames.times(1 / card.frame_rate) if card.frame_rate else None
    return _Measured(SetFacts(summary(dataset), card.unit, card.frame_rate, frames, seconds, poses), headings)


def _poses(dataset: SkeletonDataset, rows: np.ndarray, view: ClipView) -> tuple[Poses, np.ndarray]:
    layout, bones = get_layout(view.layout), np.array(get_layout(view.layout).bone_pairs)
    torsos, distances, upwards, turns, lengths = [], [], [], [], []
    for clip in range(len(view)):
        for body in view.bodies(clip)[:1]:
            torso = torso_of(body.positions, layout)
            long = np.linalg.norm(torso, axis=-1)
            if (size := float(np.median(long))) > _COLLAPSED:
                torsos.append(size)
                distances.append(np.median(np.linalg.norm(layout.mid_hip(body.positions), axis=-1)))
                upwards.append((torso / np.maximum(long, _COLLAPSED)[:, None]).mean(0))
                turns.append(left_to_right(body.positions[:OPENING], layout))
                spans = body.positions[:, bones[:, 0]] - body.positions[:, bones[:, 1]]
                lengths.append(np.median(np.linalg.norm(spans, axis=-1), axis=0) / size)
    if not torsos:
        raise UserError(f"{dataset.card.name}: nobody is seen in the clips that were drawn; raise --limit")
    directions = np.stack(upwards)
    headings, turn = _headings(np.stack(turns)) if dataset.card.unit == "metres" else (np.zeros(0), None)
    empty, unseen = _seen(dataset, rows)
    return Poses(
        clips=len(torsos),
        torso=Spread.of(np.array(torsos)),
        distance=Spread.of(np.array(distances)),
        up=_nearest_axis(directions),
        lean=Spread.of(np.degrees(np.arctan2(np.linalg.norm(directions[:, [0, 2]], axis=1), directions[:, 1]))),
        heading=None if turn is None else float(np.degrees(np.angle(turn))),
        heading_agreement=None if turn is None else float(np.abs(turn)),
        bones=_bones(layout, np.median(np.stack(lengths), axis=0)),
        empty_frames=empty,
        unseen_joints=unseen,
    ), headings


def _headings(turns: np.ndarray) -> tuple[np.ndarray, complex]:
    """From left-to-right directions (C, 2): degrees of those that have one, and the mean of these as unit vectors."""
    turning = turns[:, 0] - 1j * turns[:, 1]
    turning = turning[np.abs(turning) > _COLLAPSED]
    units = turning / np.abs(turning)
    return np.degrees(np.angle(units)), complex(units.mean()) if len(units) else 0j


def _nearest_axis(directions: np.ndarray) -> str:
    """``+y`` where most of the directions (C, 3) are closest to y upwards."""
    axis = np.abs(directions).argmax(1)
    ahead = np.take_along_axis(directions, axis[:, None], 1)[:, 0] > 0
    most = int(np.bincount(2 * axis + ahead).argmax())
    return f"{'-+'[most % 2]}{'xyz'[most // 2]}"


def _bones(layout: Layout, lengths: np.ndarray) -> dict[str, float]:
    """By name without a side: the mean of left and right."""
    of_bone = defaultdict(list)
    for bone, length in zip(layout.bones, lengths, strict=True):
        outer, inner = (joint.removeprefix("left_").removeprefix("right_") for joint in bone)
        of_bone[f"{outer} to {inner}"].append(float(length))
    return {name: float(np.mean(both)) for name, both in of_bone.items()}


def _seen(dataset: SkeletonDataset, rows: np.ndarray) -> tuple[float, float]:
    """The shares of empty frames and of joints that are not seen."""
    anatomy = Anatomy(get_layout(dataset.card.layout))
    frames = dataset.index["n_frames"].to_numpy()[rows]
    n_empty, n_joints, n_seen = 0, 0, 0
    for row, n_frames in zip(rows, frames, strict=True):
        bodies = dataset.bodies(int(row))
        n_empty += measure(int(n_frames), bodies, anatomy).empty_frames
        for body in bodies:
            seen = anatomy.layout.seen(body.positions)
            n_joints += int(seen.any(1).sum()) * seen.shape[1]
            n_seen += int(seen.sum())
    return n_empty / int(frames.sum()), 1 - n_seen / n_joints


def _class_clips(sets: Sequence[SkeletonDataset], shared: Sequence[SharedClass]) -> tuple[ClassClips, ...]:
    first, second = (each.index["label"].to_numpy() for each in sets)
    return tuple(
        ClassClips(each.name, int(np.isin(first, each.source).sum()), int(np.isin(second, each.target).sum()))
        for each in shared
    )


def _imbalance(classes: Sequence[ClassClips]) -> float | None:
    counts = np.array([(each.first, each.second) for each in classes], dtype=np.float64).reshape(-1, 2)
    if not counts.sum(0).all():
        return None
    first, second = (counts / counts.sum(0)).T
    return float(np.abs(first - second).sum() / 2)


def _same_classes(
    sets: Sequence[SkeletonDataset], shared: Sequence[SharedClass], limit: int, draw: np.random.Generator
) -> list[np.ndarray]:
    """Rows of both sets with as many clips of each shared class in both, ``limit`` of each set at most."""
    chosen: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in sets]
    for entry in shared:
        of_class = [
            draw.permutation(np.flatnonzero(np.isin(each.index["label"], labels)))
            for each, labels in zip(sets, (entry.source, entry.target), strict=True)
        ]
        n_clips = min(*map(len, of_class), max(1, limit // len(shared)))
        for rows, of_set in zip(chosen, of_class, strict=True):
            rows.append(of_set[:n_clips])
    return [np.sort(np.concatenate(rows)) for rows in chosen]


def _distance(sets: Sequence[SkeletonDataset], rows: Sequence[np.ndarray], features: Sequence[np.ndarray]) -> Distance:
    first, second = features
    joined = Rows.joined([Rows.of(dataset, of_set, of_set) for dataset, of_set in zip(sets, rows, strict=True)])
    numbers = people_of_all(joined)
    people = [numbers[joined.origin == number] for number in range(2)]
    several = [len(np.unique(of_set)) > 1 for of_set in people]
    groups = [of_set if more else np.arange(len(of_set)) for of_set, more in zip(people, several, strict=True)]
    return Distance(
        clips=(len(first), len(second)),
        by_person=(several[0], several[1]),
        proxy_a=proxy_a_distance(first, second, (groups[0], groups[1])),
        squared_mmd=squared_mmd(first, second),
    )
