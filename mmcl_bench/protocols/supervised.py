"""Supervised recognition: train on one side of a data set, test on the other, all classes known."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import OTHER_SUBJECTS, SkeletonDataset
from mmcl_bench.protocols.base import HELD_OUT, Protocol, Rows, people_of_all, people_of_clips, side_rows
from mmcl_bench.protocols.cards import TEST_SIDE, TESTED, VALIDATION_PARTS
from mmcl_bench.protocols.problem import ClassTable, UnlabelledPairs


class Supervised(Protocol):
    """The card's split names the side: x-sub, x-view and the like."""

    name = "supervised"

    @cached_property
    def classes(self) -> ClassTable:
        names = self._dataset.card.classes
        return ClassTable(names, seen=np.ones(len(names), dtype=bool))

    def _train(self) -> Rows:
        rows = self._training_side()
        return rows.where(self._has_label(rows))

    def _training_side(self) -> Rows:
        return self._side(0)

    def _has_label(self, rows: Rows) -> np.ndarray:
        """(N,) bool: the share of each class that the parameter ``labels`` says, at least one clip of each.

        Clips are ranked by a hash of their name, so a smaller share is part of a larger one.
        """
        percent, split = int(self.task.parameters["labels"].removesuffix("%")), self.task.parameters["split"]
        named = [f"{self._dataset.card.name} {split} {sample_id}" for sample_id in rows.of_index("sample_id")]
        order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in named])
        labelled = np.zeros(len(rows), dtype=bool)
        for column in np.unique(rows.columns):
            of_class = order[rows.columns[order] == column]
            labelled[of_class[: -(-percent * len(of_class) // 100)]] = True
        return labelled

    def _unlabelled_pairs(self, held_out: Rows | None) -> UnlabelledPairs | None:
        rows = self._training_side()
        wanted = ~self._has_label(rows)
        if held_out is not None and HELD_OUT not in self.validation_notes:
            wanted &= ~self._shows_someone_of(rows, held_out)
        if not self.needs.unlabelled or not wanted.any():
            return None
        rows = self._shuffled(rows.where(wanted), "unlabelled")
        rows = rows.where(np.arange(len(rows))[: self.limit])
        return UnlabelledPairs(self._view(rows), self._features(rows, frozenset(self.needs.encoders)))

    def _shows_someone_of(self, rows: Rows, others: Rows) -> np.ndarray:
        """(N,) bool: which clips show a person of some other clips, or are of the same performances; none where all
        clips are of one."""
        if OTHER_SUBJECTS in self._dataset.index:
            theirs = frozenset[int]().union(*people_of_clips(others))
            return np.array([not theirs.isdisjoint(clip) for clip in people_of_clips(rows)])
        recordings = self._recordings(rows)
        several = len(np.unique(recordings)) > 1
        return several & np.isin(recordings, recordings[np.isin(rows.rows, others.rows)])

    def _test(self) -> Rows:
        return self._side(1)

    @property
    def _dataset(self) -> SkeletonDataset:
        return self.data[self.task.card.dataset]

    def _side(self, which: int) -> Rows:
        """The clips that train, 0, or that are tested, 1."""
        part = self.task.parameters[TESTED]
        rows = side_rows(self._dataset, self.task.parameters["split"])[which if part == TEST_SIDE else 0]
        side = Rows.of(self._dataset, rows, self._dataset.index["label"].to_numpy()[rows].astype(np.int64))
        if part == TEST_SIDE or len(side) == 0:
            return side
        tested = self._part_of(side) == VALIDATION_PARTS.index(part)
        if not tested.any() or tested.all():
            raise UserError(f"{self.task.identity}: {self._how_many_parts(side)}")
        return side.where(tested if which else ~tested)

    def _part_of(self, side: Rows) -> np.ndarray:
        """int64 (N,), the part of a training side that each clip is in: its cameras, where the two sides differ in them
        and several train, else its people or performances, are dealt out in the order of a hash."""
        split = self.task.parameters["split"]
        column, groups = "camera", side.of_index("camera")
        if self._dataset.card.sides[split].column != "camera" or len(np.unique(groups)) < 2:
            column, groups = "setup" if self._tells_performances else "subject", self._recordings(side)
        numbers = side.of_index(column)
        # A group has the name of its smallest number, so that copies of a set in several forms are parted alike.
        named = {group: f"{split} {column} {numbers[groups == group].min()}" for group in np.unique(groups)}
        order = sorted(named, key=lambda group: hashlib.sha256(named[group].encode()).hexdigest())
        part = {group: place % len(VALIDATION_PARTS) for place, group in enumerate(order)}
        return np.array([part[group] for group in groups])

    @property
    def _tells_performances(self) -> bool:
        """Whether the set numbers performances in the place of people."""
        reader = self._dataset.card.reader
        return reader in READERS and READERS.get(reader).recording == "setup"

    def _recordings(self, rows: Rows) -> np.ndarray:
        """(N,): the person of each clip, or its performance; equal numbers are held out together."""
        return rows.of_index("setup") if self._tells_performances else people_of_all(rows)

    def _how_many_parts(self, side: Rows) -> str:
        n_parts = len(np.unique(self._part_of(side)))
        if n_parts < 2:
            return (
                "the people of the training side cannot be told apart, or are one, so that no part of it can be tested"
            )
        return f"the training side has {n_parts} parts; name {VALIDATION_PARTS[0]} to {VALIDATION_PARTS[n_parts - 1]}"
