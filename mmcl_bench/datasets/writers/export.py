"""Prepared data sets in the forms that others' code reads."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.parallel import in_order
from mmcl_bench.core.registry import unknown
from mmcl_bench.datasets.readers.ntu import missing_samples
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.datasets.writers import Advance, counted, new_output
from mmcl_bench.datasets.writers.ctr_gcn_npz import Fold, row, write_npz
from mmcl_bench.datasets.writers.ntu_skeleton import NAME, ClipNames, skeleton_text, write_files
from mmcl_bench.skeleton.clips import BodyTrack
from mmcl_bench.skeleton.joint_maps import HUB, joint_matrix, map_joints
from mmcl_bench.skeleton.layouts import get_layout


def export_npz(
    dataset: SkeletonDataset,
    output: Path,
    advance: Advance,
    side: str | None = None,
    n_frames: int | None = None,
    centred: bool = False,
    workers: int | None = None,
) -> None:
    """Writes one side of a data set, by default its own default, as the ``.npz`` of CTR-GCN.

    A clip has ``n_frames``, by default as many as the longest. See :func:`.ctr_gcn_npz.row` for ``centred``.
    Raises :class:`UserError` for a side that the set lacks or that has no clip in train or test, and for a clip that
    is longer than ``n_frames``.
    """
    folds = _folds(dataset, side)
    chosen = dataset.index.iloc[np.concatenate(folds)]
    longest = chosen.loc[chosen["n_frames"].idxmax()]
    if n_frames is not None and n_frames < longest["n_frames"]:
        raise UserError(
            f"{dataset.card.name}: {longest['sample_id']} has {longest['n_frames']} frames; "
            f"give --frames {longest['n_frames']} or more"
        )
    n_frames = n_frames or int(longest["n_frames"])
    make = partial(_row, _Bodies(dataset), n_frames, centred)
    labels = dataset.index["label"].to_numpy()

    def rows(clips: np.ndarray, done: int) -> Generator[np.ndarray]:
        return counted(in_order(make, clips.tolist(), workers), advance, done, len(chosen))

    train, test = folds
    with new_output(output):
        write_npz(
            output,
            Fold(labels[train], partial(rows, train, 0)),
            Fold(labels[test], partial(rows, test, len(train))),
            n_frames,
            len(dataset.card.classes),
            dataset.card.synthetic,
        )


def export_skeletons(dataset: SkeletonDataset, output: Path, advance: Advance, workers: int | None = None) -> None:
    """Writes all clips of a data set as NTU's ``.skeleton`` files, to a folder or to a zip where it is called so."""
    names = clip_names(dataset)
    make = partial(_text, _Bodies(dataset), dataset.index["n_frames"].to_numpy())
    texts = counted(in_order(make, range(len(names)), workers), advance, 0, len(names))
    with new_output(output), closing(texts):
        files = ((f"{name}.skeleton", text) for name, text in zip(names, texts, strict=True))
        write_files(output, files, dataset.card.synthetic)


def clip_names(dataset: SkeletonDataset) -> list[str]:
    """A name of NTU's form for every clip: its sample id where all are such names, else one of :class:`ClipNames`."""
    index = dataset.index
    ids = index["sample_id"]
    if ids.str.fullmatch(NAME).all() and (ids.str[-3:].astype(int) == index["label"] + 1).all():
        return [str(name) for name in ids]
    names = ClipNames(missing_samples())
    numbers = index[["setup", "camera", "subject", "label"]].itertuples(index=False)
    return [names.name(*(int(number) for number in clip)) for clip in numbers]


@dataclass(frozen=True)
class _Bodies:
    """The bodies of a clip in kinect-v2, the layout of both forms, whatever layout the data set has."""

    dataset: SkeletonDataset

    def of(self, clip: int) -> tuple[BodyTrack, ...]:
        return tuple(replace(body, positions=self._mapped(body.positions)) for body in self.dataset.bodies(clip))

    def _mapped(self, positions: np.ndarray) -> np.ndarray:
        """In both forms a joint that was not seen is all zeros."""
        seen = get_layout(self.dataset.card.layout).seen(positions)
        mapped = map_joints(np.where(seen[..., None], positions, np.nan), self._matrix)
        return np.where(np.isnan(mapped), 0, mapped)

    @cached_property
    def _matrix(self) -> np.ndarray:
        return joint_matrix(self.dataset.card.layout, HUB)


def _row(bodies: _Bodies, n_frames: int, centred: bool, clip: int) -> np.ndarray:
    return row(bodies.of(clip), n_frames, centred)


def _text(bodies: _Bodies, n_frames: np.ndarray, clip: int) -> bytes:
    return skeleton_text(int(n_frames[clip]), bodies.of(clip))


def _folds(dataset: SkeletonDataset, side: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the index that train and that test."""
    card = dataset.card
    chosen = side or card.default_side
    if chosen not in card.sides:
        raise UserError(f"{card.name}: {unknown('side', chosen, sorted(card.sides))}")
    train, test = map(np.flatnonzero, card.sides[chosen].masks(dataset.index))
    if not (len(train) and len(test)):
        raise UserError(f"{card.name}: has no clip to {'train' if not len(train) else 'test'} with on side {chosen}")
    return train, test
