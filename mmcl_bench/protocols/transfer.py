"""Cross-dataset transfer: train on a source set, test on the classes that a target set shares with it.

Both sets are used whole: no clip of the target is ever trained on. Target skeletons are mapped to the source's joint
layout. Which class corresponds to which is a fact of ``protocols/class_maps``, or of a file of the user's own.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.protocols import splits
from mmcl_bench.protocols.base import Protocol, Rows
from mmcl_bench.protocols.problem import ClassTable, ClipView, mapped_to_layout


class Transfer(Protocol):
    """Candidate classes are the shared ones; a data set may have several classes for one of them."""

    name = "transfer"

    @cached_property
    def classes(self) -> ClassTable:
        names = tuple(shared.name for shared in self._map.shared)
        return ClassTable(names, seen=np.ones(len(names), dtype=bool))

    def test_clips(self, mask: np.ndarray | None = None) -> ClipView:
        return mapped_to_layout(super().test_clips(mask), self._source.card.layout)

    def _train(self) -> Rows:
        return self._rows(self._source, [shared.source for shared in self._map.shared])

    def _test(self) -> Rows:
        target = self.data[self.task.card.dataset]
        return self._rows(target, [shared.target for shared in self._map.shared])

    def _hold_out(self, train: Rows, draw: int = 0) -> tuple[Rows, Rows, np.ndarray]:
        kept, held_out = self._held_out_recordings(train)
        return train.where(kept), train.where(held_out), np.array([], dtype=np.int64)

    @property
    def _source(self) -> SkeletonDataset:
        return self.data[str(self.task.card.source)]

    @property
    def _map(self) -> splits.ClassMap:
        return self.task.class_map

    def _rows(self, dataset: SkeletonDataset, labels_of_class: list[tuple[int, ...]]) -> Rows:
        column_of = {label: column for column, labels in enumerate(labels_of_class) for label in labels}
        labels = dataset.index["label"].to_numpy()
        rows = np.flatnonzero(np.isin(labels, list(column_of)))
        columns = np.array([column_of[int(label)] for label in labels[rows]], dtype=np.int64)
        return Rows(dataset, rows, columns)
