"""Transfer to all classes of a target set, which are known by their texts.

To a method it is a zero-shot task: the classes of all sources are seen, and the classes of the target come after them
as unseen ones, those included that some source has as well. Only the target's are candidates in the test. Figures tell
apart the target classes with a counterpart in the sources and those without.

Choosing happens as in zero-shot, on the sources alone: on clips of held-out people and of pseudo-unseen source classes.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.protocols.base import Rows
from mmcl_bench.protocols.by_texts import ByTexts
from mmcl_bench.protocols.problem import ClassTable, LabelledClips
from mmcl_bench.protocols.transfer import Transfer

PSEUDO_UNSEEN_SHARE = 0.2
"""Share of the source classes that a selection fit holds out; two at least."""


class TransferByTexts(ByTexts, Transfer):
    """The card's parameters name the text encoder and what it reads."""

    name = "transfer-texts"
    calibrated: ClassVar[bool] = False

    @cached_property
    def classes(self) -> ClassTable:
        """The target's classes; ``seen`` is True for those that have a counterpart in the sources."""
        names = self._target.card.classes
        shared = {label for each in self.task.shared_classes for label in each.labels[self.task.card.dataset]}
        return ClassTable(names, np.isin(np.arange(len(names)), list(shared)), self.task.class_texts()[-len(names) :])

    @cached_property
    def embedded_classes(self) -> ClassTable:
        """The classes of the sources, then those of the target."""
        names = (*(each.name for each, _ in self.task.source_classes), *self.classes.names)
        seen = np.arange(len(names)) < len(self.task.source_classes)
        return self._embedded(ClassTable(names, seen, self.task.class_texts()))

    @cached_property
    def pseudo_unseen(self) -> tuple[np.ndarray, ...]:
        """One draw, as sources have many classes."""
        with_clips = np.unique(self.train_rows.columns)
        size = min(max(2, round(PSEUDO_UNSEEN_SHARE * len(with_clips))), len(with_clips))
        return (np.sort(self.generator("pseudo-unseen classes").choice(with_clips, size=size, replace=False)),)

    @property
    def selection_metric(self) -> str:
        return "zsl_top1"

    def few_shot_clips(self) -> LabelledClips:
        raise UserError(f"{self.task.identity}: knows classes by texts alone; few-shot methods need classes=shared")

    def _train(self) -> Rows:
        return self._of_sources([each for each, _ in self.task.source_classes])

    @property
    def _target_labels(self) -> list[tuple[int, ...]]:
        return [(label,) for label in range(len(self.classes))]
