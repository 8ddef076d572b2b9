"""What a run found out, as the result that it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.evaluation import statistics as stats
from mmcl_bench.evaluation.metrics import METRICS, Scored, per_class_accuracy
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols.base import Protocol
from mmcl_bench.protocols.cards import Task
from mmcl_bench.results.records import Figure, MethodRecord, Oracle, Provenance, Result, Selection, TaskRecord
from mmcl_bench.results.store import Embeddings, Validation
from mmcl_bench.running.jobs import Job

LEVEL = 0.95
RESAMPLES = 2000
History = dict[str, list[dict[str, float]]]
"""Training curves by phase."""


@dataclass(frozen=True)
class JobOutput:
    """All that a run of a job found out."""

    protocol: Protocol
    method: Method
    scored: Scored
    selection: Selection
    validation: Validation | None
    embeddings: Embeddings | None
    oracle: Oracle | None
    history: History
    notes: dict[str, Any]
    model_files: list[str]
    """Names of the files that the fitted method was saved to."""

    def result(self, job: Job, provenance: Provenance, files: dict[str, str]) -> Result:
        """The result, with the sha256 of the files that were written for it."""
        protocol, accuracy = self.protocol, per_class_accuracy(self.scored)
        return Result(
            job=job.canonical(),
            job_hash=job.hash,
            task=task_record(job.task, protocol),
            method=_method_record(self.method, job),
            seed=job.seed,
            limit=job.limit,
            classes=protocol.classes.names,
            seen=tuple(bool(seen) for seen in protocol.classes.seen),
            n_train=len(protocol.train_rows),
            n_test=len(protocol.test_rows),
            selection=self.selection,
            metrics={name: figure(name, self.scored, job.hash) for name in job.task.card.metrics},
            per_class={name: number(value) for name, value in zip(protocol.classes.names, accuracy, strict=True)},
            oracle=self.oracle,
            history={phase: [_finite(row) for row in rows] for phase, rows in self.history.items()},
            notes=self.notes,
            provenance=provenance,
            files=files,
        )


def figure(name: str, scored: Scored, job_hash: str) -> Figure:
    """A metric of a score sheet with its bootstrap interval, whose chance follows from the job."""
    generator = np.random.default_rng(derive_seed(job_hash, f"bootstrap {name}"))
    interval = stats.bootstrap_interval(METRICS.get(name), [scored], RESAMPLES, LEVEL, generator=generator)
    return Figure(
        value=number(interval.value),
        low=number(interval.low),
        high=number(interval.high),
        n=interval.n,
        level=interval.level,
    )


def number(value: float) -> float | None:
    """A figure as JSON has it: None for nan."""
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
        metrics=card.metrics,
        main_metric=card.main_metric,
        synthetic=any(dataset.card.synthetic for dataset in protocol.data.values()),
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
        transductive=method.transductive,
    )


def _finite(row: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if math.isfinite(value)}
