"""What a method may see, and the rules that decide it.

A :class:`Protocol` turns a task and its data into :class:`Problem` objects. Only the protocol has the test labels. What
it gives to a method is a copy, with no reference to the data set.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.registry import unknown
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import OTHER_SUBJECTS, SkeletonDataset
from mmcl_bench.evaluation.metrics import Scored
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.problem import ClassTable, ClipView, LabelledClips, Problem, UnlabelledPairs
from mmcl_bench.skeleton.clips import Modality

VALIDATION_SHARE = 0.2
"""Share of the training subjects that a selection fit holds out."""
HELD_OUT = "held out"
"""A validation note, where single clips are held out and those of the same person or performance may train."""


@dataclass(frozen=True)
class Rows:
    """Some clips of one data set or several, with their columns in the table of candidate classes. Never leaves the
    protocol."""

    datasets: tuple[SkeletonDataset, ...]
    origin: np.ndarray
    """int64 (N,), the data set of each clip as a position in ``datasets``."""
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of(cls, dataset: SkeletonDataset, rows: np.ndarray, columns: np.ndarray) -> Rows:
        return cls((dataset,), np.zeros(len(rows), dtype=np.int64), rows, columns)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """The clips of several data sets, one a part."""
        return cls(
            tuple(part.dataset for part in parts),
            np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.columns for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dataset(self) -> SkeletonDataset:
        """The data set, where it is one."""
        (dataset,) = self.datasets
        return dataset

    def where(self, mask: np.ndarray) -> Rows:
        """Those of a mask, or at some positions."""
        return replace(self, origin=self.origin[mask], rows=self.rows[mask], columns=self.columns[mask])

    def by_dataset(self, values: Callable[[Rows], np.ndarray]) -> np.ndarray:
        """(N, ...) what ``values`` gives for the clips of each data set, in the order of all clips."""
        places = [np.flatnonzero(self.origin == number) for number in range(len(self.datasets))]
        parts = [
            values(Rows.of(dataset, self.rows[at], self.columns[at]))
            for dataset, at in zip(self.datasets, places, strict=True)
            if len(at) or not len(self)
        ]
        found: np.ndarray = np.concatenate(parts)[np.argsort(np.concatenate(places))]
        return found

    def of_index(self, column: str) -> np.ndarray:
        """A column of the index table, for these clips."""
        return self.by_dataset(lambda part: part.dataset.index[column].to_numpy()[part.rows])


@dataclass(frozen=True)
class Needs:
    """What a method gets besides skeletons."""

    encoders: Mapping[Modality, str] = field(default_factory=dict)
    """The frozen encoder by modality."""
    setting: Setting = Setting.INDUCTIVE
    seed: int = 0
    """Seed of the job: which labelled clips of the target it gets, in few-shot."""
    text_slots: tuple[str, ...] = ()
    """Texts of a class besides the main one."""
    draws: int = 1
    """Draws of pseudo-unseen classes that it averages over, where the data set is small."""
    scores_with: frozenset[Modality] = frozenset()
    """Modalities whose features it also gets of the clips that it scores."""
    unlabelled: bool = False
    """Whether it gets the training clips that have no label, see :class:`.problem.UnlabelledPairs`."""


class Protocol(ABC):
    """The rules of one task on opened data.

    Subclasses define the candidate classes, the training and test clips, and what is held out for selection.
    ``limit`` keeps that many training and test clips, spread over the classes, for a smoke run.

    Raises :class:`UserError` for data that have the name of a published set but are not that set.
    """

    name: ClassVar[str]
    """The family of its tasks, or a kind of it."""
    calibrated: ClassVar[bool] = True
    """Whether candidate classes with and without training clips, where there are both, compete in the test."""

    def __init__(
        self,
        task: Task,
        data: Mapping[str, SkeletonDataset],
        needs: Needs,
        cache: Path,
        limit: int | None = None,
        advance: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> None:
        for name, dataset in data.items():
            if name in READERS and dataset.card.reader != name:
                raise UserError(
                    f"{dataset.folder}: was read as {dataset.card.reader}, so its figures are none of {name}; "
                    "prepare it under another name with --as"
                )
        self.task = task
        self.data = data
        self.needs = needs
        self.cache = cache
        self.limit = limit
        self.advance = advance
        self.validation_notes: dict[str, str] = {}
        """Notes for the result on how clips were held out."""
        self.feature_notes: dict[str, str] = {}
        """Notes for the result on how features were made, by encoder."""
        self.text_notes: dict[str, str] = {}
        """Notes for the result on text slots that are filled from another field, by slot."""
        self.weight_hashes: dict[str, str] = {}
        """Weight hash of every encoder that was used, by its name."""

    @property
    @abstractmethod
    def classes(self) -> ClassTable:
        """The candidate classes of the test."""

    @property
    def embedded_classes(self) -> ClassTable:
        """The classes as methods see them, with their texts embedded; the candidates are the last of them. Evaluation
        reads no text."""
        return self.classes

    @property
    def selection_metric(self) -> str:
        """The metric to choose by on validation."""
        return self.task.card.main_metric

    @abstractmethod
    def _train(self) -> Rows:
        """Training clips of the seen classes."""

    def _training_side(self) -> Rows:
        """All clips that may train, those without a label too."""
        return self._train()

    def _unlabelled_pairs(self, held_out: Rows | None) -> UnlabelledPairs | None:
        """The training clips without a label, without those of whom or what is ``held_out`` for choosing; None where
        there are none, or the method does not read them."""
        return None

    @abstractmethod
    def _test(self) -> Rows:
        """Test clips."""

    def _hold_out(self, train: Rows, draw: int = 0) -> tuple[Rows, Rows, np.ndarray]:
        """Divides training clips for a selection fit: (train, validation, columns that are pseudo-unseen)."""
        kept, held_out = self._held_out_recordings(train)
        return train.where(kept), train.where(held_out), np.array([], dtype=np.int64)

    @property
    def _n_draws(self) -> int:
        """How many times pseudo-unseen classes are drawn."""
        return 1

    def selection_problem(self) -> Problem:
        """The problem of the first fit, which chooses on held-out training-side clips."""
        others = tuple(self._selection(draw) for draw in range(1, self._n_draws))
        return replace(self._selection(0), draws=others)

    def _selection(self, draw: int) -> Problem:
        train, validation, pseudo_unseen = self._hold_out(self.train_rows, draw)
        columns = np.flatnonzero(self.embedded_classes.seen)
        classes = self.embedded_classes.take(columns, ~np.isin(columns, pseudo_unseen))
        unseen = np.isin(validation.columns, pseudo_unseen)
        if len(validation) == 0 or (len(pseudo_unseen) and (unseen.all() or not unseen.any())):
            raise UserError(
                f"{self.task.identity}: too few clips to hold out for choosing; raise --limit, or use a larger data set"
            )
        problem = self._problem(classes, self._labelled(train, columns), self._labelled(validation, columns))
        return replace(problem, unlabelled=self._unlabelled_pairs(validation))

    def final_problem(self) -> Problem:
        """The problem of the fit whose scores count: all training clips, nothing held out."""
        columns = np.arange(len(self.embedded_classes))
        classes = self.embedded_classes.take(columns, self.embedded_classes.seen.copy())
        problem = self._problem(classes, self._labelled(self.train_rows, columns), None)
        return replace(problem, unlabelled=self._unlabelled_pairs(None))

    def test_clips(self, mask: np.ndarray | None = None) -> ClipView:
        """The test clips, or those of a bool (N,) mask, in an order that does not depend on their labels."""
        return self._scored(self.test_rows if mask is None else self.test_rows.where(mask))

    def train_clips(self, mask: np.ndarray) -> ClipView:
        """The training clips of a bool (N,) mask, in an order that does not depend on their labels."""
        return self._view(self.train_rows.where(mask))

    def test_scored(self, scores: np.ndarray, calibration: float) -> Scored:
        """A method's test scores joined with the labels. The result belongs to the runner, never to a method."""
        return Scored(scores, self.test_rows.columns, self.classes.seen, calibration)

    def target_clips(self) -> ClipView:
        """The clips of the target's training side, without labels."""
        raise UserError(f"{self.task.identity}: a method that adapts to unlabelled clips needs a transfer task")

    def few_shot_clips(self) -> LabelledClips:
        """Some labelled clips of the target's training side."""
        raise UserError(f"{self.task.identity}: a method that adapts to a few labelled clips needs a transfer task")

    def test_sample_ids(self) -> list[str]:
        """Sample ids of :meth:`test_clips`, in their order. For the runner's records."""
        return [str(sample_id) for sample_id in self.test_rows.of_index("sample_id")]

    def validation_sample_ids(self) -> list[str]:
        """Sample ids of the held-out clips of :meth:`selection_problem`, in their order. For the runner's records."""
        _, validation, _ = self._hold_out(self.train_rows)
        return [str(sample_id) for sample_id in validation.of_index("sample_id")]

    @cached_property
    def train_rows(self) -> Rows:
        return self._limited(self._shuffled(self._train(), "train"))

    @cached_property
    def test_rows(self) -> Rows:
        rows = self._test()
        if self.task.parameters.get("duplicates") == "removed":
            trained_on = set(self._training_side().of_index("content"))
            rows = rows.where(np.array([content not in trained_on for content in rows.of_index("content")], dtype=bool))
        if len(rows) == 0:
            raise UserError(f"{self.task.identity}: no test clip is left; {self._why_no_test}")
        return self._limited(self._shuffled(rows, "test"))

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers that follow from task and purpose alone, whatever the method, the seed and the encoder."""
        digest = hashlib.sha256(f"{self.task.draws_hash}:{purpose}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    @property
    def _why_no_test(self) -> str:
        if self.task.parameters.get("duplicates") == "removed" and len(self._test()):
            return "every one equals a training clip, so leave out --duplicates removed"
        return "the data hold none of its test side and classes, so prepare them again, or choose other data"

    def _problem(self, classes: ClassTable, train: LabelledClips, validation: LabelledClips | None) -> Problem:
        # Asked for before anything is trained, as it refuses a test without clips.
        _ = self.test_rows
        return Problem(
            task=self.task.identity,
            family=self.task.method_family,
            metric=self.selection_metric,
            classes=classes,
            train=train,
            validation=validation,
            target_unlabelled=self._target_unlabelled(validation)
            if self.needs.setting is Setting.TRANSDUCTIVE
            else None,
            # A source-free method gets them later, see Method.adapt.
            target=self.target_clips() if self.needs.setting is Setting.UNLABELLED else None,
            few_shot=self.few_shot_clips() if self.needs.setting is Setting.FEW_SHOT else None,
        )

    def _target_unlabelled(self, validation: LabelledClips | None) -> ClipView:
        """The clips without labels that a transductive method adapts to: in the first fit those that it chooses on, as
        the final one adapts to those that are scored."""
        return self.test_clips() if validation is None else validation.clips

    def _labelled(self, rows: Rows, columns: np.ndarray) -> LabelledClips:
        """Clips with labels renumbered to positions in ``columns``."""
        if len(rows) == 0:
            raise UserError(f"{self.task.identity}: no training clip is left; raise --limit or prepare the data again")
        return LabelledClips(
            clips=self._scored(rows),
            labels=np.searchsorted(columns, rows.columns).astype(np.int64),
            subjects=people_of_all(rows),
            features=self._features(rows, frozenset(self.needs.encoders)),
            domains=rows.origin.copy() if len(rows.datasets) > 1 else None,
        )

    def _view(self, rows: Rows) -> ClipView:
        clips = [rows.dataset.bodies(int(row)) for row in rows.rows]
        return ClipView(clips, rows.of_index("n_frames").tolist(), rows.dataset.card.layout)

    def _scored(self, rows: Rows) -> ClipView:
        """Clips as the method scores them."""
        view = self._view(rows)
        view.features = self._features(rows, self.needs.scores_with)
        return view

    def _features(self, rows: Rows, wanted: Set[Modality]) -> dict[Modality, np.ndarray]:
        found = {}
        for modality, spec in self.needs.encoders.items():
            if modality in wanted and all(modality in dataset.card.modalities for dataset in rows.datasets):
                found[modality] = rows.by_dataset(partial(self._features_of_one, modality=modality, spec=spec))
        return found

    def _features_of_one(self, rows: Rows, modality: Modality, spec: str) -> np.ndarray:
        from mmcl_bench.encoders.features import EXTRACTORS

        advance = partial(self.advance, f"{modality} features")
        features = EXTRACTORS[modality](rows.dataset, rows.rows.tolist(), spec, self.cache, advance)
        self.weight_hashes[spec] = features.weight_hash
        if features.made:
            self.feature_notes[spec] = features.made
        values: np.ndarray = features.values
        return values

    def _shuffled(self, rows: Rows, purpose: str) -> Rows:
        order = self.generator(f"order of {purpose}").permutation(len(rows))
        return rows.where(order)

    def _limited(self, rows: Rows) -> Rows:
        if self.limit is None or len(rows) <= self.limit:
            return rows
        rank = np.zeros(len(rows), dtype=np.int64)
        for column in np.unique(rows.columns):
            of_class = np.flatnonzero(rows.columns == column)
            rank[of_class] = np.arange(len(of_class))
        kept = np.zeros(len(rows), dtype=bool)
        kept[np.lexsort((rows.columns, rank))[: self.limit]] = True
        return rows.where(kept)

    def _held_out_recordings(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Two (N,) bool: clips that train a selection fit, and clips of the performers, or the performances, that it
        holds out: a fifth of them.

        Clips that show several performers are in neither where some of these are held out and others train. Where a
        set numbers no one, a fifth of the clips is held out; :attr:`validation_notes` then states that.
        """
        masks = rows.by_dataset(lambda part: np.stack(self._held_out_of_one(part), axis=1))
        return masks[:, 0], masks[:, 1]

    def _held_out_of_one(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`_held_out_recordings` of one data set."""
        generator = self.generator("held-out subjects")
        reader = rows.dataset.card.reader
        column = READERS.get(reader).recording if reader in READERS else "subject"
        recordings = rows.of_index(column) if column in ("subject", "setup") else np.zeros(len(rows), dtype=np.int64)
        numbers = np.unique(recordings)
        if len(numbers) < 2:
            if column != "clip":
                is_one = column in rows.dataset.index and rows.dataset.index[column].nunique() > 1
                whose = "person" if column == "subject" else "performance"
                of_what = (
                    f"all that train are of one {whose}" if is_one else "it tells neither subjects nor performances"
                )
                self.validation_notes[HELD_OUT] = (
                    f"single clips of {rows.dataset.card.name}, as {of_what}: another camera's clip of the same "
                    "performance may train"
                )
            mask = generator.random(len(rows)) < VALIDATION_SHARE
            return ~mask, mask
        if column == "subject" and OTHER_SUBJECTS in rows.dataset.index:
            return self._held_out_people(rows, generator)
        held_out = generator.choice(numbers, size=max(1, round(VALIDATION_SHARE * len(numbers))), replace=False)
        mask = np.isin(recordings, held_out)
        return ~mask, mask

    def _held_out_people(self, rows: Rows, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`_held_out_of_one` of clips that show several people: whole clips' people are held out, in random
        order, until they are a fifth of all."""
        people = people_of_clips(rows)
        groups = sorted(set(people), key=sorted)
        wanted = max(1, round(VALIDATION_SHARE * len(frozenset[int]().union(*groups))))
        held_out: frozenset[int] = frozenset()
        for at in generator.permutation(len(groups)):
            if len(held_out) < wanted:
                held_out |= groups[at]
        masks = [np.array([fits(clip) for clip in people]) for fits in (held_out.isdisjoint, held_out.issuperset)]
        if not masks[0].any():
            self.validation_notes[HELD_OUT] = "single clips, as those of other people would leave none to train with"
            masks[1] = generator.random(len(rows)) < VALIDATION_SHARE
            masks[0] = ~masks[1]
        return masks[0], masks[1]


def side_rows(dataset: SkeletonDataset, side_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Index rows of the train and the test side. Raises :class:`UserError` for a side that the set lacks."""
    sides = dataset.card.sides
    if side_name not in sides:
        raise UserError(f"{dataset.card.name}: {unknown('side', side_name, sorted(sides))}")
    train, test = sides[side_name].masks(dataset.index)
    return np.flatnonzero(train), np.flatnonzero(test)


def people_of_all(rows: Rows) -> np.ndarray:
    """int64 (N,): the subject of each clip, numbered from 0; no one is in two data sets."""
    pairs = np.stack([rows.origin, rows.by_dataset(_people)], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _people(rows: Rows) -> np.ndarray:
    """int64 (N,): the subject of each clip of a data set, numbered from 0. Where clips show several people, a number is
    of all those whom some clips connect, so that no one has two."""
    first = rows.of_index("subject")
    if OTHER_SUBJECTS in rows.dataset.index:
        connected: dict[int, frozenset[int]] = {}
        for people in set(people_of_clips(rows)):
            joined = people.union(*(connected.get(number, ()) for number in people))
            connected |= dict.fromkeys(joined, joined)
        first = np.array([min(connected[number]) for number in first])
    _, numbers = np.unique(first, return_inverse=True)
    return numbers.astype(np.int64)


def people_of_clips(rows: Rows) -> list[frozenset[int]]:
    """The subjects of each clip of a set that has :data:`.store.OTHER_SUBJECTS`."""
    pairs = zip(rows.of_index("subject").tolist(), rows.of_index(OTHER_SUBJECTS), strict=True)
    return [frozenset((first, *others.tolist())) for first, others in pairs]
