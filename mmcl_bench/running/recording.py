"""Result records: the one place that fills them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.core.grants import Setting
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation import statistics as stats
from mmcl_bench.evaluation.metrics import METRICS, Scored, per_class_accuracy
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols.base import Protocol
from mmcl_bench.protocols.cards import Task
from mmcl_bench.results import store as results
from mmcl_bench.results.records import Figure, MethodRecord, Oracle, Provenance, Result, Selection, TaskRecord
from mmcl_bench.results.store import DomainMap, Embeddings, Validation
from mmcl_bench.running.identity import Identity
from mmcl_bench.running.jobs import Job

LEVEL = 0.95
RESAMPLES = 2000
History = dict[str, list[dict[str, float]]]
"""Training curves by phase."""


@dataclass(frozen=True)
class JobOutput:
    """All outcomes of a run of a job."""

    protocol: Protocol
    method: Method
    scored: Scored
    selection: Selection
    validation: Validation | None
    embeddings: Embeddings | None
    domains: DomainMap | None
    oracle: Oracle | None
    history: History
    notes: dict[str, Any]
    model_files: list[str]
    """Names of the files that the fitted method was saved to."""

    def result(self, job: Job, provenance: Provenance, files: dict[str, str]) -> Result:
        """The result, with the sha256 of the files that were written for it."""
        return result_record(
            job,
            task=task_record(job.task, self.protocol),
            method=_method_record(self.method, job),
            classes=self.protocol.classes.names,
            n_train=len(self.protocol.train_rows),
            scored=self.scored,
            selection=self.selection,
            oracle=self.oracle,
            history={phase: [_finite(row) for row in rows] for phase, rows in self.history.items()},
            notes=self.notes,
            provenance=provenance,
            files=files,
        )


def write_sheets(folder: Path, scored: Scored, sample_ids: list[str], validation: Validation | None) -> dict[str, str]:
    """Writes the scores of a test, and of validation where there are some; returns sha256 by file name.

    An earlier result is kept until it is replaced here.
    """
    (folder / results.RESULT).unlink(missing_ok=True)
    files = results.write_scores(folder, scored.scores, sample_ids, scored.labels)
    return files | results.write_validation(folder, validation)


def result_record(
    identity: Identity,
    *,
    task: TaskRecord,
    method: MethodRecord,
    classes: Sequence[str],
    n_train: int,
    scored: Scored,
    selection: Selection,
    notes: dict[str, Any],
    provenance: Provenance,
    files: dict[str, str],
    oracle: Oracle | None = None,
    history: History | None = None,
) -> Result:
    """The record of a run, a fusion, or scores from elsewhere, with the figures of its score sheet."""
    job, accuracy = identity.canonical(), per_class_accuracy(scored)
    return Result(
        job=job,
        job_hash=identity.hash,
        task=task,
        method=method,
        seed=job["seed"],
        limit=job["limit"],
        classes=tuple(classes),
        seen=tuple(scored.seen.tolist()),
        n_train=n_train,
        n_test=len(scored),
        selection=selection,
        metrics={name: figure(name, scored, identity.hash) for name in task.metrics},
        per_class={name: number(value) for name, value in zip(classes, accuracy, strict=True)},
        oracle=oracle,
        history=history or {},
        notes=notes,
        provenance=provenance,
        files=files,
    )


def selection_record(
    rule: str,
    metrics: Sequence[str],
    validation: Scored | None,
    chosen: Mapping[str, Any] | None = None,
    calibration: float = 0.0,
) -> Selection:
    """How a result was chosen. ``calibration`` is that of a result without a sheet of validation."""
    return Selection(
        rule=rule,
        chosen=dict(chosen or {}),
        calibration=calibration if validation is None else validation.calibration,
        validation={} if validation is None else {name: number(METRICS.get(name)(validation)) for name in metrics},
        n_validation=0 if validation is None else len(validation),
    )


def figure(name: str, scored: Scored, job_hash: str) -> Figure:
    """A metric of a score sheet with its bootstrap interval, whose random numbers are derived from the job."""
    generator = np.random.default_rng(derive_seed(job_hash, f"bootstrap {name}"))
    return figure_record(stats.bootstrap_interval(METRICS.get(name), [scored], RESAMPLES, LEVEL, generator=generator))


def figure_record(interval: stats.Interval) -> Figure:
    """An interval as results keep it."""
    return Figure(
        value=number(interval.value),
        low=number(interval.low),
        high=number(interval.high),
        n=interval.n,
        level=interval.level,
    )


def number(value: float) -> float | None:
    """A figure for JSON: None for nan."""
    return None if math.isnan(value) else float(value)


def task_record(task: Task, protocol: Protocol) -> TaskRecord:
    """What results keep of a task."""
    card = task.card
    return TaskRecord(
        identity=task.identity,
        hash=task.hash,
        family=card.family,
        name=card.name,
        version=card.version,
        title=card.title,
        datasets=task.datasets,
        split=task.split,
        parameters=task.parameters,
        metrics=task.metrics,
        main_metric=card.main_metric,
        synthetic=any(dataset.card.synthetic for dataset in protocol.data.values()),
        incomplete={
            name: str(found)
            for name, dataset in protocol.data.items()
            if (found := dataset.card.completeness) is not None and not found.is_whole
        },
        citation=card.citation,
    )


def _method_record(method: Method, job: Job) -> MethodRecord:
    return MethodRecord(
        name=method.name,
        version=method.version,
        summary=method.summary,
        preset=job.preset,
        settings=dict(job.settings),
        overrides=job.overrides,
        setting=Setting.UNLABELLED if method.reads_unlabelled else method.setting,
        uses_unseen_texts=method.uses_unseen_texts,
        frozen=method.frozen,
        deterministic=method.deterministic,
        scores_with=tuple(sorted(method.scores_with)),
    )


def _finite(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if math.isfinite(value)}
