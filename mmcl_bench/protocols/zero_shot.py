"""Zero-shot recognition: some classes have no training clip and are known by their descriptions alone.

Roles: training clips are those of the seen classes on the training side. The test holds every clip of the test side,
so that one job gives both settings: among unseen classes only (ZSL) and among all classes (GZSL). With
``unseen_clips=all`` it also holds the clips of unseen classes of the training side, which never train. Choosing happens
on pseudo-unseen classes, which are held out of the seen ones on the training side: SynSE's own lists where they
exist, else drawn by hashing the task. The clips there are of held-out subjects, as those of the test are of others than
train; pseudo-unseen ones come from all subjects where held-out ones have too few.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.protocols import splits
from mmcl_bench.protocols.base import Rows, side_rows
from mmcl_bench.protocols.by_texts import ByTexts
from mmcl_bench.protocols.cards import ALL_UNSEEN, UNSEEN_CLIPS
from mmcl_bench.protocols.problem import ClassTable

MANY_SEEN = 40
"""Seen classes from which on pseudo-unseen ones are drawn once: a draw of few classes varies, and costs a fit."""


class ZeroShot(ByTexts):
    """The card's split names the unseen classes; its parameters name the text encoder and what it reads."""

    name = "zero-shot"

    @cached_property
    def classes(self) -> ClassTable:
        texts = self.task.class_texts()
        seen = np.ones(len(texts), dtype=bool)
        seen[list(self._split.unseen)] = False
        return ClassTable(self._dataset.card.classes, seen, texts)

    @cached_property
    def embedded_classes(self) -> ClassTable:
        return self._embedded(self.classes)

    @cached_property
    def pseudo_unseen(self) -> tuple[np.ndarray, ...]:
        """Columns of the seen classes that serve as pseudo-unseen classes in validation, by draw; no two draws share
        one."""
        if self._split.validation_unseen is not None:
            return (np.array(self._split.validation_unseen, dtype=np.int64),)
        seen = np.array(self._split.seen, dtype=np.int64)
        size = min(len(self._split.unseen), max(2, len(seen) // 2), len(seen) - 1)
        first = self.generator("pseudo-unseen classes").choice(seen, size=size, replace=False)
        others = self.generator("other pseudo-unseen classes").permutation(np.setdiff1d(seen, first))
        draws = [first, *(others[at : at + size] for at in range(0, len(others) - size + 1, size))]
        return tuple(np.sort(draw) for draw in draws)

    @property
    def _n_draws(self) -> int:
        return min(self.needs.draws, len(self.pseudo_unseen)) if len(self._split.seen) < MANY_SEEN else 1

    def _train(self) -> Rows:
        train, _ = self._sides
        return train.where(self.classes.seen[train.columns])

    def _test(self) -> Rows:
        train, test = self._sides
        if self.task.parameters[UNSEEN_CLIPS] != ALL_UNSEEN:
            return test
        others = train.where(~self.classes.seen[train.columns])
        return Rows.of(self._dataset, np.append(test.rows, others.rows), np.append(test.columns, others.columns))

    @property
    def _dataset(self) -> SkeletonDataset:
        return self.data[self.task.card.dataset]

    @cached_property
    def _split(self) -> splits.Split:
        split = self.task.zero_shot_split
        if split.n_classes != len(self._dataset.card.classes):
            raise UserError(
                f"{self.task.identity}: the split is over {split.n_classes} classes and {self._dataset.card.name} has "
                f"{len(self._dataset.card.classes)}; mend the card's table"
            )
        return split

    @cached_property
    def _sides(self) -> tuple[Rows, Rows]:
        labels = self._dataset.index["label"].to_numpy().astype(np.int64)
        train, test = side_rows(self._dataset, self.task.parameters["side"])
        return Rows.of(self._dataset, train, labels[train]), Rows.of(self._dataset, test, labels[test])
