"""Cross-dataset transfer: train on one or several source sets, test on the classes that a target set shares with them.

The sources are used whole, as none of their clips is tested. The target's test side is scored, the same under every
setting; what a setting grants is of its training side. Skeletons of all sets are mapped to one joint layout. Which
class corresponds to which is a fact of ``protocols/class_maps``, or of a file of the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted, some_of
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.protocols.base import Protocol, Rows, side_rows
from mmcl_bench.protocols.correspondence import CommonClass
from mmcl_bench.protocols.problem import ClassTable, ClipView, LabelledClips, mapped_to_layout
from mmcl_bench.skeleton.joint_maps import joint_matrix
from mmcl_bench.skeleton.layouts import Layout, get_layout


class Transfer(Protocol):
    """Candidate classes are the shared ones; a data set may have several classes for one of them."""

    name = "transfer"

    @cached_property
    def classes(self) -> ClassTable:
        names = tuple(shared.name for shared in self.task.shared_classes)
        return ClassTable(names, seen=np.ones(len(names), dtype=bool))

    def target_clips(self) -> ClipView:
        """Those of the training side, of the candidate classes: that a clip is of one of them is all that is known."""
        rows = self._shuffled(self._target_train, "target")
        return self._view(rows.where(np.arange(len(rows))[: self.limit]))

    def few_shot_clips(self) -> LabelledClips:
        """As many of each class as the parameter ``shots`` says, others for each seed, the same for all methods.

        Raises :class:`UserError` for a class with fewer.
        """
        shots = int(self.task.parameters["shots"])
        rows = self._shuffled(self._target_train, f"few-shot {self.needs.seed}")
        columns = range(len(self.classes))
        first = [np.flatnonzero(rows.columns == column)[:shots] for column in columns]
        if few := [self.classes.names[column] for column in columns if len(first[column]) < shots]:
            raise UserError(
                f"{self.task.identity}: {self.task.card.dataset} has fewer than {shots} clips on its training side of "
                f"{some_of(few)}; choose fewer with --shots"
            )
        return self._labelled(rows.where(np.concatenate(first)), np.arange(len(self.classes)))

    def _train(self) -> Rows:
        return self._of_sources(self.task.shared_classes)

    def _of_sources(self, classes: Sequence[CommonClass]) -> Rows:
        """The source clips of some classes, which are their columns."""
        labels = {name: [each.labels.get(name, ()) for each in classes] for name in self.task.card.sources}
        return Rows.joined([self._of_classes(self.data[name], None, labels[name]) for name in labels])

    def _test(self) -> Rows:
        return self._target_side(1)

    def _view(self, rows: Rows) -> ClipView:
        if len(rows.datasets) == 1:
            return mapped_to_layout(super()._view(rows), self._layout)
        clips = np.empty(len(rows), dtype=object)
        for number in range(len(rows.datasets)):
            at = np.flatnonzero(rows.origin == number)
            one = Rows.of(rows.datasets[number], rows.rows[at], rows.columns[at])
            view = self._view(one)
            for place, clip in zip(at, range(len(view)), strict=True):
                clips[place] = view.bodies(clip)
        return ClipView(clips.tolist(), rows.of_index("n_frames").tolist(), self._layout)

    @cached_property
    def _layout(self) -> str | Layout:
        """The layout of most of the sources; of equally common ones, that with the fewest joints."""
        layouts = [self.data[name].card.layout for name in self.task.card.sources]
        chosen = min(layouts, key=lambda layout: (-layouts.count(layout), len(get_layout(layout))))
        # Before anything is trained, as both refuse sets that do not go together.
        self._require_other_recordings()
        for dataset in self.data.values():
            joint_matrix(dataset.card.layout, chosen)
        return chosen

    def _require_other_recordings(self) -> None:
        """Refuses sets that hold the same clips: those of the target would train, or held-out ones of a source."""
        before: dict[bytes, str] = {}
        for name in (*self.task.card.sources, self.task.card.dataset):
            own = set(self.data[name].index["content"])
            if common := own & before.keys():
                other = before[next(iter(common))]
                raise UserError(
                    f"{self.task.identity}: {name} and {other} share {counted(len(common), 'clip')}, which would "
                    "both train and be tested; choose sets of other recordings"
                )
            before |= dict.fromkeys(own, name)

    @property
    def _target(self) -> SkeletonDataset:
        return self.data[self.task.card.dataset]

    @property
    def _target_labels(self) -> list[tuple[int, ...]]:
        """The target's labels of each candidate class."""
        return [shared.labels[self.task.card.dataset] for shared in self.task.shared_classes]

    @cached_property
    def _target_train(self) -> Rows:
        rows = self._target_side(0)
        if len(rows) == 0:
            raise UserError(
                f"{self.task.identity}: {self._target.card.name} has no training clip on side "
                f"{self.task.parameters['side']}, and a {self.needs.setting} method adapts to these; choose another "
                f"with --parameter side=..., one of {', '.join(sorted(self._target.card.sides))}"
            )
        return rows

    def _target_side(self, which: int) -> Rows:
        rows = side_rows(self._target, self.task.parameters["side"])[which]
        return self._of_classes(self._target, rows, self._target_labels)

    @staticmethod
    def _of_classes(dataset: SkeletonDataset, among: np.ndarray | None, labels: list[tuple[int, ...]]) -> Rows:
        """The clips, of some rows or all, of the classes that have these labels, by column."""
        column_of = {label: column for column, of_class in enumerate(labels) for label in of_class}
        found = dataset.index["label"].to_numpy()
        rows = np.arange(len(found)) if among is None else among
        rows = rows[np.isin(found[rows], list(column_of))]
        return Rows.of(dataset, rows, np.array([column_of[int(label)] for label in found[rows]], dtype=np.int64))
