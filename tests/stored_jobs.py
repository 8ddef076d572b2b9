"""Small stored results, written as a job writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmcl_bench.core.grants import Setting
from mmcl_bench.evaluation.metrics import METRICS, Scored
from mmcl_bench.evaluation.statistics import bootstrap_interval
from mmcl_bench.report.tables import frame_of, leaderboard_rows
from mmcl_bench.results.groups import newest, unlimited
from mmcl_bench.results.records import Figure, MethodRecord, Oracle, Provenance, Result, Selection, TaskRecord
from mmcl_bench.results.store import (
    DomainMap,
    Embeddings,
    Stored,
    folder_name,
    job_label,
    write_domain_map,
    write_embeddings,
    write_result,
    write_scores,
)

CLASSES = ("wave", "clap", "walk", "sit")
_METRICS = {
    "supervised": ("top1", "macro_top1"),
    "transfer": ("top1", "macro_top1"),
    "zero-shot": ("zsl_top1", "gzsl_seen", "gzsl_unseen", "gzsl_h", "ausuc"),
}


def stored_job(
    root: Path,
    *,
    family: str = "supervised",
    name: str = "toy",
    method: str = "mmcl",
    skill: float = 0.5,
    seed: int = 0,
    synthetic: bool = False,
    setting: Setting = Setting.INDUCTIVE,
    uses_unseen_texts: bool | None = None,
    scores_with: tuple[str, ...] = (),
    frozen: bool | None = None,
    fit_seconds: float | None = None,
    limit: int | None = None,
    task_hash: str = "a" * 64,
    fingerprint: str = "f" * 64,
    settings: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    classes: tuple[str, ...] = CLASSES,
    n_unseen: int = 2,
    unseen: Collection[int] = (),
    n_test: int = 40,
    scores: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    order: np.ndarray | None = None,
    oracle: float | None = None,
    figures: tuple[float | None, ...] = (),
    history: dict[str, list[dict[str, float]]] | None = None,
    notes: Mapping[str, Any] | None = None,
    embeddings: Embeddings | None = None,
    domains: DomainMap | None = None,
    metrics: tuple[str, ...] | None = None,
    datasets: tuple[str, ...] = ("toy-set",),
    split: str | None = None,
    parameters: Mapping[str, str] | None = None,
    preset: str = "quick",
    dirty: bool | None = False,
    version: int = 1,
    method_version: int = 1,
    incomplete: Mapping[str, str] | None = None,
    identity: str | None = None,
    deterministic: bool = False,
    validation: Mapping[str, float | None] | None = None,
    summary: str = "a method that knows a part of the answer",
    started: str = "2024-05-01T10:00:00+00:00",
    slot_texts: str = "",
) -> Stored:
    labels = np.arange(n_test) % len(classes) if labels is None else labels
    if scores is None:
        generator = np.random.default_rng([seed, *method.encode()])
        scores = generator.random((len(labels), len(classes)), dtype=np.float32)
        scores[np.arange(len(labels)), labels] += skill
    order = np.arange(len(labels)) if order is None else order
    scores, labels = scores[order], labels[order]
    seen = np.arange(len(classes)) < len(classes) - n_unseen if family == "zero-shot" else np.ones(len(classes), bool)
    if unseen:
        seen = ~np.isin(np.arange(len(classes)), [*unseen])
    scored = Scored(scores, labels, seen, calibration=0.05 if family == "zero-shot" else 0.0)
    metrics = metrics or _METRICS[family]
    identity = identity or f"{family}/{name}@{version}"
    job = {"task": identity, "hash": task_hash, "method": method, "settings": dict(settings or {}), "seed": seed}
    job |= {"preset": preset} if preset != "quick" else {}
    job |= {"method_version": method_version} if method_version > 1 else {}
    job |= {"slot_texts": slot_texts} if slot_texts else {}
    job_hash = hashlib.sha256(json.dumps({**job, "limit": limit, "data": fingerprint}).encode()).hexdigest()
    folder = root / "jobs" / folder_name(job_label(identity, method), seed, job_hash)
    files = write_scores(folder, scored.scores, [f"clip-{at}" for at in order], labels)
    files |= write_embeddings(folder, embeddings)
    files |= write_domain_map(folder, domains)
    result = Result(
        job=job,
        job_hash=job_hash,
        task=TaskRecord(
            identity=identity,
            hash=task_hash,
            family=family,
            name=name,
            version=version,
            title=f"A {family} task on toy clips",
            datasets=datasets,
            split=split,
            parameters=dict(parameters or {}),
            metrics=metrics,
            main_metric=metrics[0],
            synthetic=synthetic,
            incomplete=dict(incomplete or {}),
            citation="Nobody: Toy clips, 2024.",
        ),
        method=MethodRecord(
            name=method,
            version=method_version,
            summary=summary,
            preset=preset,
            settings=dict(settings or {}),
            overrides=dict(overrides or {}),
            setting=setting,
            uses_unseen_texts=uses_unseen_texts,
            scores_with=scores_with,
            frozen=frozen,
            deterministic=deterministic,
        ),
        seed=seed,
        limit=limit,
        classes=classes,
        seen=tuple(seen.tolist()),
        n_train=100,
        n_test=len(labels),
        selection=Selection(
            rule="validation",
            chosen={"epoch": 2},
            calibration=scored.calibration,
            validation={metrics[0]: 0.5} if validation is None else dict(validation),
            n_validation=20,
        ),
        metrics={each: _figure(each, scored) for each in metrics},
        per_class=dict.fromkeys(classes, 0.5),
        oracle=None
        if oracle is None
        else Oracle(metric=metrics[0], value=oracle, epoch=3, epochs_tried=(1, 2, 3), figures=figures),
        history=history or {},
        notes=dict(notes or {}),
        provenance=Provenance(
            mmcl_bench="0.1.0",
            commit="c" * 40,
            dirty=dirty,
            python="3.11.2",
            platform="Linux",
            packages={"torch": "2.4.0", "numpy": "2.0.0"},
            device="cpu",
            threads=1,
            data_fingerprints={"toy-set": fingerprint},
            weight_hashes={"minilm": "d" * 64},
            started=started,
            wall_seconds=1.5,
            fit_seconds=fit_seconds,
            peak_memory_bytes=2**28,
        ),
        files=files,
    )
    return write_result(folder, result)


def class_folds(
    store: Callable[..., Stored], skills: Mapping[str, float], dataset: str = "toy", repetitions: int = 2, **others: Any
) -> list[Stored]:
    """Jobs of methods, by skill, on two folds of two classes a repetition."""
    divisions = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))][:repetitions]
    return [
        store(
            family="zero-shot",
            name=dataset,
            identity=f"zero-shot/{dataset}@1[split=2/2:fold-{number}]",
            split=f"2/2:fold-{number}",
            task_hash=f"{number}" * 64,
            unseen=unseen,
            method=method,
            skill=skill,
            **others,
        )
        for method, skill in skills.items()
        for number, unseen in enumerate((part for parts in divisions for part in parts), 1)
    ]


def leaderboard(stored: Iterable[Stored]) -> pd.DataFrame:
    """The leaderboard that a report makes of jobs."""
    return frame_of(leaderboard_rows(newest(unlimited(stored))))


def _figure(name: str, scored: Scored) -> Figure:
    interval = bootstrap_interval(METRICS.get(name), [scored], 100, generator=np.random.default_rng(0))
    return Figure(value=interval.value, low=interval.low, high=interval.high, n=interval.n, level=interval.level)
