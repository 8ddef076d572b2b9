"""Supervised recognition: train on one side of a data set, test on the other, all classes known."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.protocols.base import Protocol, Rows, side_rows
from mmcl_bench.protocols.problem import ClassTable


class Supervised(Protocol):
    """The card's split names the side: x-sub, x-view and the like."""

    name = "supervised"

    @cached_property
    def classes(self) -> ClassTable:
        names = self._dataset.card.classes
        return ClassTable(names, seen=np.ones(len(names), dtype=bool))

    def _train(self) -> Rows:
        return self._side(0)

    def _test(self) -> Rows:
        return self._side(1)

    def _hold_out(self, train: Rows, draw: int = 0) -> tuple[Rows, Rows, np.ndarray]:
        kept, held_out = self._held_out_recordings(train)
        return train.where(kept), train.where(held_out), np.array([], dtype=np.int64)

    @property
    def _dataset(self) -> SkeletonDataset:
        return self.data[self.task.card.dataset]

    def _side(self, which: int) -> Rows:
        rows = side_rows(self._dataset, self.task.parameters["split"])[which]
        return Rows.of(self._dataset, rows, self._dataset.index["label"].to_numpy()[rows].astype(np.int64))
