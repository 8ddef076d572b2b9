"""Scores computed elsewhere, evaluated under a task: joined with the test clips, evaluated, stored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.comparing.records import Entry, Sheet
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.evaluation.metrics import METRICS, Scored, fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs, Protocol
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.zero_shot import ZeroShot
from mmcl_bench.results import provenance
from mmcl_bench.results.groups import UNSEEN_ALONE, wiped_out
from mmcl_bench.results.records import MethodRecord, TaskRecord
from mmcl_bench.results.store import FUSION, Stored, Validation, write_result
from mmcl_bench.running.identity import Identity, locked_folder
from mmcl_bench.running.recording import result_record, selection_record, task_record, write_sheets
from mmcl_bench.running.score_files import SAMPLE_ID, ScoreFile, read_score_file

FOREIGN = "foreign"
"""Preset of a stored result whose scores were read from a file, and the key in its notes."""
UNKNOWN = "unknown"
"""Its selection rule: how its epoch and settings were chosen is unknown here."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Calibration:
    """What is subtracted from the scores of seen classes, and its origin."""

    value: float
    source: str
    """``given``; ``validation``, fitted on validation scores; ``none``: none was given, so 0; ``not needed``."""
    validation: Validation | None = None

    @property
    def note(self) -> str:
        """Its origin, for the footnote of a table."""
        if self.source == "none":
            return "no calibration was given or fitted: S, U, H are of raw scores; give --calibration or --validation"
        if self.source == "validation" and self.validation is not None:
            return f"calibration {self.value:.4g}, fitted on {len(self.validation.sample_ids)} validation clips"
        return f"calibration {self.value:.4g}, as given; nobody here saw how it was chosen"


class ScoredTask:
    """A task with its data, with which foreign scores are joined."""

    def __init__(self, task: Task, data_root: Path) -> None:
        data = {name: open_dataset(name, data_root) for name in task.datasets}
        self.task = task
        self.protocol: Protocol = PROTOCOLS.get(task.protocol)(task, data, Needs(), data_root / "cache")

    @cached_property
    def sample_ids(self) -> list[str]:
        """Of the test clips."""
        return self.protocol.test_sample_ids()

    @property
    def classes(self) -> tuple[str, ...]:
        """The candidate classes, in label order."""
        return self.protocol.classes.names

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the data, by data set."""
        return {name: dataset.card.fingerprint for name, dataset in self.protocol.data.items()}

    @property
    def unseen_classes(self) -> np.ndarray:
        """int64, the columns of the unseen classes; none but in zero-shot tasks."""
        is_zero_shot = self.task.card.family == "zero-shot"
        return np.flatnonzero(~self.protocol.classes.seen) if is_zero_shot else np.array([], dtype=np.int64)

    def scored(self, file: ScoreFile, calibration: Calibration) -> Scored:
        """A file's scores joined with the labels. Raises :class:`UserError` where they are not of this task's test."""
        if self.is_of_unseen_alone(file):
            if calibration.source in ("given", "validation"):
                raise UserError(
                    f"{file.path}: has the unseen classes alone, which no calibration changes; leave the calibration "
                    "out, or give the scores of all test clips and classes"
                )
            return self._scored_among_unseen(file)
        return self.protocol.test_scored(file.aligned(self.sample_ids, self.classes), calibration.value)

    def is_of_unseen_alone(self, file: ScoreFile) -> bool:
        """Whether a file has only the clips, or only the columns, of the unseen classes: the conventional zero-shot
        setting. Then S, U, H and AUSUC are unknown."""
        n_unseen = len(self.unseen_classes)
        if not n_unseen:
            return False
        return file.scores.shape[1] == n_unseen or file.has_clips(self._unseen_ids)

    def metrics(self, file: ScoreFile) -> tuple[str, ...]:
        """Those of the task that a file's scores are enough for."""
        named = self.task.metrics
        if not self.is_of_unseen_alone(file):
            return named
        return tuple(name for name in named if METRICS.get(name).contest == "unseen")

    def record(self, file: ScoreFile) -> TaskRecord:
        """What results keep of the task, with the metrics that are known of a file."""
        return task_record(self.task, self.protocol).model_copy(update={"metrics": self.metrics(file)})

    def clips_of(self, file: ScoreFile) -> list[str]:
        """Sample ids of the clips that a file is judged on, in the order of :meth:`scored`."""
        return self._unseen_ids if self.is_of_unseen_alone(file) else self.sample_ids

    def classes_of(self, file: ScoreFile) -> tuple[str, ...]:
        """The candidate classes that a file is judged on, in the order of the columns of :meth:`scored`."""
        columns = self.unseen_classes if self.is_of_unseen_alone(file) else range(len(self.classes))
        return tuple(self.classes[column] for column in columns)

    @cached_property
    def _of_unseen(self) -> np.ndarray:
        """bool (N,), the test clips of unseen classes."""
        return np.isin(self.protocol.test_rows.columns, self.unseen_classes)

    @cached_property
    def _unseen_ids(self) -> list[str]:
        return [self.sample_ids[row] for row in np.flatnonzero(self._of_unseen)]

    def _scored_among_unseen(self, file: ScoreFile) -> Scored:
        columns, rows = self.unseen_classes, np.flatnonzero(self._of_unseen)
        is_short = len(file.sample_ids) <= len(rows)
        ids, what = (self._unseen_ids, "unseen classes' test clip") if is_short else (self.sample_ids, "test clip")
        if file.scores.shape[1] == len(columns):
            scores = file.aligned(ids, self.classes_of(file), what, columns.tolist())
        else:
            scores = file.aligned(ids, self.classes, what)[:, columns]
        labels = np.searchsorted(columns, self.protocol.test_rows.columns[rows])
        return Scored(scores if is_short else scores[rows], labels, np.zeros(len(columns), dtype=bool))

    def calibration(self, given: float | None, validation: ScoreFile | None) -> Calibration:
        """Raises :class:`UserError` where the task needs no calibration, or the given one cannot be used."""
        zero_shot = self.task.card.family == "zero-shot"
        if not zero_shot and (given is not None or validation is not None):
            raise UserError(f"{self.task.identity}: only zero-shot tasks have a calibration; leave it out")
        if given is not None and validation is not None:
            raise UserError("--calibration and --validation both set the calibration; give one")
        if given is not None and not np.isfinite(given):
            raise UserError(f"--calibration {given}: should be a finite number")
        if validation is not None:
            return self._fitted(validation)
        return Calibration(given or 0.0, "given" if given is not None else "none" if zero_shot else "not needed")

    def _fitted(self, file: ScoreFile) -> Calibration:
        """The calibration that maximises H on the clips that our own methods hold out, see docs/score.md."""
        protocol = self.protocol
        if not isinstance(protocol, ZeroShot):
            raise UserError(f"{self.task.identity}: its protocol has no validation; give --calibration")
        sample_ids = protocol.validation_sample_ids()
        columns = np.flatnonzero(protocol.classes.seen)
        names = [self.classes[column] for column in columns]
        if file.scores.shape[1] == len(self.classes):
            scores = file.aligned(sample_ids, self.classes, "validation clip")[:, columns]
        else:
            scores = file.aligned(sample_ids, names, "validation clip", columns.tolist())
        train = protocol.train_rows
        column_of = dict(zip(map(str, train.of_index(SAMPLE_ID)), train.columns.tolist(), strict=True))
        labels = np.searchsorted(columns, [column_of[sample_id] for sample_id in sample_ids])
        seen = ~np.isin(columns, protocol.pseudo_unseen[0])
        try:
            value = fit_calibration(scores, labels, seen)
        except ValueError as error:
            raise UserError(f"{file.path}: {error}; give --calibration") from error
        return Calibration(
            value, "validation", Validation(Scored(scores, labels, seen, value), tuple(sample_ids), columns)
        )


@dataclass(frozen=True)
class ForeignRun(Identity):
    """One file of scores under a task: a run of a method that is not ours.

    Its identity does not cover the scores: a second file with the same name and seed replaces the first.
    """

    scored_task: ScoredTask
    name: str
    seed: int
    file: ScoreFile
    calibration: Calibration
    setting: Setting = Setting.INDUCTIVE

    @cached_property
    def scored(self) -> Scored:
        """Its scores joined with the labels."""
        return self.scored_task.scored(self.file, self.calibration)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of the task that are known."""
        return self.scored_task.metrics(self.file)

    @property
    def wiped_out(self) -> str:
        """What :func:`wiped_out` says of its figures."""
        held_out = self.calibration.validation
        figures, promised = (
            {} if sheet is None else {name: METRICS.get(name)(sheet) for name in self.metrics}
            for sheet in (self.scored, None if held_out is None else held_out.scored)
        )
        return wiped_out(figures, len(self.scored_task.classes), self.calibration.value, promised)

    @property
    def settings(self) -> dict[str, Any]:
        """What is known of how the scores were made, and whether they are of the unseen classes alone."""
        unseen_alone = {UNSEEN_ALONE: True} if self.scored_task.is_of_unseen_alone(self.file) else {}
        return {**({} if self.setting is Setting.INDUCTIVE else {str(self.setting): True}), **unseen_alone}

    def canonical(self) -> dict[str, Any]:
        """What names the result, as plain JSON values."""
        return {
            "task": self.scored_task.task.identity,
            "task_hash": self.scored_task.task.hash,
            "method": self.name,
            "method_version": 1,
            "preset": FOREIGN,
            "settings": self.settings,
            "seed": self.seed,
            "limit": None,
        }

    def store(self, root: Path) -> Stored:
        """Writes it as a result like any other, marked as foreign. It replaces one with the same name and seed.

        Raises :class:`UserError` for a name that cannot be a method's or is one of ours.
        """
        check_name(self.name)
        started, scored, held_out = provenance.start(), self.scored, self.calibration.validation
        task, protocol = self.scored_task.record(self.file), self.scored_task.protocol
        if task.main_metric not in task.metrics:
            raise UserError(
                f"{self.file.path}: {task.main_metric} needs the scores of all classes; give these to store"
            )
        with locked_folder(self, root) as folder:
            files = write_sheets(folder, scored, self.scored_task.clips_of(self.file), held_out)
            result = result_record(
                self,
                task=task,
                method=self._method_record(),
                classes=self.scored_task.classes_of(self.file),
                n_train=len(protocol.train_rows),
                scored=scored,
                selection=selection_record(
                    UNKNOWN,
                    task.metrics,
                    None if held_out is None else held_out.scored,
                    calibration=self.calibration.value,
                ),
                notes={
                    FOREIGN: True,
                    "file": self.file.path.name,
                    "sha256": self.file.sha256,
                    "calibration": self.calibration.source,
                },
                provenance=provenance.collect(started, "cpu", self.scored_task.fingerprints, protocol.weight_hashes),
                files=files,
            )
            return write_result(folder, result)

    def _method_record(self) -> MethodRecord:
        return MethodRecord(
            name=self.name,
            version=1,
            summary="scores from elsewhere; nobody here saw how they were made",
            preset=FOREIGN,
            settings=self.settings,
            overrides={},
            setting=self.setting,
        )


def check_name(name: str) -> None:
    """Raises :class:`UserError` for a method name that foreign results cannot have."""
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r}: names have lower-case letters, digits, dots, dashes and underscores")
    if name == FUSION or name in METHODS:
        raise UserError(
            f"--name {name}: that is a method of this suite; give scores from elsewhere a name of their own"
        )


def write_template(path: Path, scored_task: ScoredTask) -> int:
    """Writes a CSV file of all test clips and classes with every score 0.0, to be filled in; returns its rows."""
    import pandas as pd

    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it, or choose another --template")
    zeros = np.zeros((len(scored_task.sample_ids), len(scored_task.classes)))
    frame = pd.DataFrame(zeros, columns=list(scored_task.classes))
    frame.insert(0, SAMPLE_ID, scored_task.sample_ids, allow_duplicates=True)
    write_atomically(path, lambda draft: frame.to_csv(draft, index=False, lineterminator="\n"))
    return len(frame)


def entry_of_scores(path: Path, task: str, data_root: Path | None) -> Entry:
    """A file of scores as a side of a comparison. Raises :class:`UserError` where ``task`` names no single task."""
    if "*" in task or "?" in task:
        raise UserError(f"{path}: scores are judged by one task; name it with --task")
    root = paths.data_root(data_root)
    scored_task, file = ScoredTask(load_task(task, root), root), read_score_file(path)
    scored = scored_task.scored(file, scored_task.calibration(None, None))
    return Entry(
        path.name,
        file.sha256,
        scored_task.record(file),
        scored_task.fingerprints,
        scored_task.classes_of(file),
        True,
        lambda: [Sheet(None, np.array(scored_task.clips_of(file)), scored)],
    )
