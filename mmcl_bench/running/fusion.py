"""Ensembles: weighted sums of the scores that several jobs stored for the same clips.

With ``logits`` the scores are summed as the members gave them, as the authors of CTR-GCN and HD-GCN do for their
streams. With ``softmax`` they are made into probabilities first, which members of different scales need. Weights are
divided by their sum. Either way the stored scores are log-probabilities up to a constant by clip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.settings import PRESET, member_text, parse_bracketed, split_outside_brackets
from mmcl_bench.core.text import counted
from mmcl_bench.evaluation.metrics import METRICS, Metric, Scored, fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.cards import Task
from mmcl_bench.results import provenance
from mmcl_bench.results.records import MethodRecord
from mmcl_bench.results.store import FUSION, SCORES, VALIDATION_SCORES, Stored, Validation, job_label, write_result
from mmcl_bench.running.identity import Identity, locked_folder, result_folder
from mmcl_bench.running.jobs import Job, make_job
from mmcl_bench.running.recording import result_record, selection_record, write_sheets

VERSION = 1
FITTED_VERSION = 2
"""Version of fusions with fitted weights. In version 1 seen columns competed too, and a member could be better."""
_FAR = 1e4
"""Best score of a clip beyond which float32 has less than three decimals left."""
Scale = Literal["logits", "softmax"]
Weights = tuple[float, ...] | Literal["equal", "fitted"]
ENSEMBLES: Mapping[str, tuple[str, ...]] = {
    "paper": (
        *(f"[backbone=ctr-gcn,streams={stream}]" for stream in ("joint", "bone", "joint-motion", "bone-motion")),
        *(f"[backbone=hd-gcn,streams={stream}]" for stream in ("joint", "bone")),
    )
}
"""Named lists of members. ``paper``: the six streams of MMCL (Liu, Chen, Liu, ACM MM 2024), of the method in use."""


@dataclass(frozen=True)
class FusionJob(Identity):
    """What decides a fusion: its members, one job each and of one seed, and how they are weighed."""

    members: tuple[Job, ...]
    weights: Weights
    scale: Scale

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise UserError("a fusion needs two members or more; name them with --streams or --members")
        if twins := len(self.members) - len({job.hash for job in self.members}):
            raise UserError(f"{twins} of the {len(self.members)} members stand there twice; name each once")
        if not isinstance(self.weights, str):
            _check_weights(self.weights, len(self.members))

    @property
    def first(self) -> Job:
        return self.members[0]

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines the scores except the seed: the members in full, weights and scale."""
        weights = self.weights if isinstance(self.weights, str) else list(self.weights)
        members = [
            {"method": job.method, "version": job.method_version, "settings": dict(job.settings)}
            for job in self.members
        ]
        return {"members": members, "weights": weights, "scale": self.scale}

    def canonical(self) -> dict[str, Any]:
        """The job as plain JSON values."""
        first = self.first
        return {
            "task": first.task.identity,
            "task_hash": first.task.hash,
            "method": FUSION,
            "method_version": self.version,
            "preset": first.preset,
            "members": [job.hash for job in self.members],
            "weights": self.settings["weights"],
            "scale": self.scale,
            "seed": first.seed,
            "limit": first.limit,
        }

    @property
    def label(self) -> str:
        return job_label(self.first.task.identity, FUSION, len(self.members))

    @property
    def version(self) -> int:
        return FITTED_VERSION if self.weights == "fitted" else VERSION

    @property
    def uses_validation(self) -> bool:
        """Whether weights, or the calibration of a zero-shot task, are fitted on the members' validation scores."""
        return self.weights == "fitted" or self.first.task.card.family == "zero-shot"

    @property
    def deterministic(self) -> bool:
        """Whether no member depends on the seed, so that the fusion does not either."""
        return all(METHODS.get(job.method).deterministic for job in self.members)

    @property
    def to_run(self) -> tuple[Job, ...]:
        """The jobs whose scores it takes: its members, and of a deterministic one that of the first seed."""
        return tuple(replace(job, seed=0) if METHODS.get(job.method).deterministic else job for job in self.members)

    def check(self) -> None:
        """Raises :class:`UserError` before anything runs, where weights are to be fitted and a member will not leave
        the validation scores that this takes."""
        family = self.first.task.card.family
        for job in self.members:
            if self.weights == "fitted" and not METHODS.get(job.method)(**job.settings).selects(family):
                raise UserError(_no_validation(job))

    def options(self) -> dict[str, Any]:
        """The options of ``mmcl-bench fuse`` that name it, shortest first choice; others than these are settings."""
        own = [job.overrides for job in self.members]
        shared = {
            key: value for key, value in own[0].items() if all(key in each and each[key] == value for each in own)
        }
        varied = {key for each in own for key in each} - shared.keys()
        different = [{key: job.settings[key] for key in varied & job.settings.keys()} for job in self.members]
        if len({job.preset for job in self.members}) > 1:
            different = [{PRESET: job.preset, **each} for job, each in zip(self.members, different, strict=True)]
        methods = {job.method for job in self.members}
        named: dict[str, Any] = {}
        if len(methods) == 1 and all(each.keys() == {"streams"} and len(each["streams"]) == 1 for each in different):
            named = {"method": self.first.method, "streams": ",".join(each["streams"][0] for each in different)}
        else:
            members = zip(self.members, different, strict=True)
            named = {"members": ",".join(member_text(job.method, each) for job, each in members)}
        weights = self.weights if isinstance(self.weights, str) else ",".join(f"{weight:g}" for weight in self.weights)
        return {**shared, **named, "weights": weights, "scale": self.scale}


def member_jobs(
    task: Task,
    members: Sequence[str],
    seed: int,
    *,
    method: str = "mmcl",
    preset: str = "quick",
    overrides: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> tuple[Job, ...]:
    """Jobs of members such as ``mmcl[backbone=hd-gcn,streams=bone]``; without a name before the bracket, of ``method``.

    A member's settings come on top of ``overrides``; its ``preset`` in the brackets takes the place of ``preset``.
    Raises :class:`UserError` for what does not fit.
    """
    jobs = []
    for text in members:
        name, settings = parse_bracketed(text, f"--members: {text!r}")
        own_preset = settings.pop(PRESET, preset)
        own = {**(overrides or {}), **settings}
        jobs.append(make_job(task, METHODS.get(name or method), seed, own_preset, own, limit))
    return tuple(jobs)


def parse_members(text: str) -> list[str]:
    """The members of ``a[x=1,y=2],b[x=1]``, or of a named ensemble. Raises :class:`UserError` for an open bracket."""
    if text in ENSEMBLES:
        return list(ENSEMBLES[text])
    if re.fullmatch(r"[\w.-]+", text) and text not in METHODS:
        raise UserError(f"--members: {unknown('ensemble', text, sorted(ENSEMBLES))}")
    return split_outside_brackets(text, "--members")


def parse_weights(text: str) -> Weights:
    """``equal``, ``fitted``, or one number a member. Raises :class:`UserError` for anything else."""
    if text in ("equal", "fitted"):
        return cast(Literal["equal", "fitted"], text)
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--weights {text}: should be equal, fitted, or numbers with commas between") from error


def parse_scale(text: str) -> Scale:
    """``logits`` or ``softmax``. Raises :class:`UserError` for anything else."""
    if text not in get_args(Scale):
        raise UserError(f"--scale: {unknown('scale', text, list(get_args(Scale)))}")
    return cast(Scale, text)


def fuse_scores(scores: Sequence[np.ndarray], weights: np.ndarray, scale: Scale) -> np.ndarray:
    """(N, K) in the members' precision: M score sheets (N, K), weighted by the shares (M,).

    ``logits``: the weighted sum. ``softmax``: the logarithm of the weighted sum of probabilities. It gives the same
    ranking, but still distinguishes classes whose probabilities are too small for float32.
    """
    sheets = np.stack([np.asarray(sheet, dtype=np.float64) for sheet in scores])
    shares = np.asarray(weights, dtype=np.float64)[:, None, None]
    if scale == "logits":
        fused = (shares * sheets).sum(axis=0)
    else:
        fused = logsumexp(log_softmax(sheets, axis=2), axis=0, b=shares)
    # A score that is the same for all classes of a clip tells nothing and would take float32 the digits that do.
    best = fused.max(axis=1, keepdims=True)
    fused = np.where(np.abs(best) > _FAR, fused - best, fused)
    return np.asarray(fused, dtype=np.result_type(*scores, np.float32))


def fit_weights(members: Sequence[Scored], scale: Scale, metric: Metric) -> np.ndarray:
    """float64 (M,) shares, fitted on the members' sheets of the same validation clips.

    The shares of :func:`likeliest_weights`, unless a single member is better by ``metric``, with a new calibration
    where seen and unseen classes compete. So a fusion is never below its best member on validation.
    """
    candidates = [likeliest_weights(members, scale, metric), *np.eye(len(members))]
    return max(candidates, key=lambda shares: metric(fused_sheet(members, shares, scale)))


def fused_sheet(members: Sequence[Scored], shares: np.ndarray, scale: Scale) -> Scored:
    """The fusion of validation sheets, with a calibration of its own where unseen classes compete."""
    labels, seen = members[0].labels, members[0].seen
    scores = fuse_scores([each.scores for each in members], shares, scale)
    return Scored(scores, labels, seen, 0.0 if seen.all() else fit_calibration(scores, labels, seen))


def likeliest_weights(members: Sequence[Scored], scale: Scale, metric: Metric) -> np.ndarray:
    """float64 (M,) shares that maximise the likelihood of the true classes among the candidates of ``metric``.

    Only the metric's samples are used, and only its candidate classes: the unseen ones, or all classes after each
    member's calibration. In the latter case the likelihood is concave in the shares, so the start, equal shares, does
    not matter. Raises :class:`ValueError` without such samples.
    """
    first = members[0]
    counted, columns = metric.counted(first), _competing(first, metric)
    if not counted.any():
        raise ValueError("weights are fitted on at least one labelled clip")
    labels = np.searchsorted(columns, first.labels[counted])
    sheets = np.stack([_calibrated(each, scale)[np.ix_(counted, columns)] for each in members])
    found = minimize(
        _logit_loss(sheets, labels) if scale == "logits" else _mixture_loss(sheets, labels),
        np.full(len(members), 1 / len(members)),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(members),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    # Digits beyond the accuracy of the optimum would make weights differ between machines.
    shares = np.round(np.clip(found.x, 0, 1), 6)
    return np.asarray(shares / shares.sum())


def _competing(scored: Scored, metric: Metric) -> np.ndarray:
    """int64, the columns of the metric's candidate classes."""
    return np.flatnonzero(~scored.seen) if metric.contest == "unseen" else np.arange(scored.scores.shape[1])


def _calibrated(scored: Scored, scale: Scale) -> np.ndarray:
    """float64 (N, K): logits or log-probabilities, seen classes lowered by the calibration."""
    sheet = scored.scores.astype(np.float64)
    return (sheet if scale == "logits" else log_softmax(sheet, axis=1)) - scored.calibration * scored.seen


def run_fusion(job: FusionJob, members: Sequence[Stored], root: Path) -> tuple[Stored, bool]:
    """The fusion of finished members, and whether it is new; the stored one where it is of the same member scores.

    Raises :class:`UserError` where members do not fit one another, or lack the validation scores that weights need.
    """

    def stored() -> Stored | None:
        found = Stored.read(result_folder(job, root))
        return found if found is not None and found.result.notes.get("members") == _ingredients(members) else None

    if found := stored():
        return found, False
    with locked_folder(job, root) as folder:
        # Another process may have written it since.
        found = stored()
        return (found, False) if found else (_fuse(job, members, folder), True)


def lacks_validation(stored: Stored) -> bool:
    """Whether it was chosen on validation by a version that did not keep the validation scores."""
    return stored.result.selection.rule == "validation" and stored.validation() is None


def _fuse(job: FusionJob, members: Sequence[Stored], folder: Path) -> Stored:
    started = provenance.start()
    first = members[0].result
    _check_alike(members)
    held_out = _validation_of(members)
    if job.weights == "fitted" and held_out is None:
        lacking = next(each for each, member in zip(job.members, members, strict=True) if member.validation() is None)
        raise UserError(_no_validation(lacking))
    shares, n_fitted_on = _shares(job, held_out)
    validation = None if held_out is None else _fused_validation(held_out, shares, job.scale)
    selection = selection_record(
        "fixed" if validation is None else "validation",
        first.task.metrics,
        None if validation is None else validation.scored,
        {"weights": shares.tolist()} if job.weights == "fitted" else {},
    )
    labels = members[0].samples["column"].to_numpy(dtype=np.int64)
    scores = fuse_scores([member.scores for member in members], shares, job.scale)
    scored = Scored(scores, labels, np.array(first.seen, dtype=bool), selection.calibration)
    files = write_sheets(folder, scored, members[0].samples["sample_id"].tolist(), validation)
    hashes = {name: sha for member in members for name, sha in member.result.provenance.weight_hashes.items()}
    result = result_record(
        job,
        task=first.task,
        method=_method_record(job, members),
        classes=first.classes,
        n_train=first.n_train,
        scored=scored,
        selection=selection,
        notes={
            "members": _ingredients(members),
            "weights": shares.tolist(),
            "n_fitted_on": n_fitted_on,
            **_cost(members),
        },
        provenance=provenance.collect(started, "cpu", dict(first.provenance.data_fingerprints), hashes),
        files=files,
    )
    return write_result(folder, result)


def _shares(job: FusionJob, held_out: Sequence[Validation] | None) -> tuple[np.ndarray, int]:
    """float64 (M,) shares that sum to one, and on how many clips they were fitted, 0 where they were given."""
    if job.weights == "fitted" and held_out is not None:
        sheets, metric = [each.scored for each in held_out], METRICS.get(job.first.task.card.main_metric)
        return fit_weights(sheets, job.scale, metric), metric.n_samples(sheets[0])
    given = np.ones(len(job.members)) if isinstance(job.weights, str) else np.array(job.weights)
    return given / given.sum(), 0


def _fused_validation(held_out: Sequence[Validation], shares: np.ndarray, scale: Scale) -> Validation:
    return replace(held_out[0], scored=fused_sheet([each.scored for each in held_out], shares, scale))


def _validation_of(members: Sequence[Stored]) -> list[Validation] | None:
    """The members' validation sheets, where all have one. Raises :class:`UserError` where they do not fit."""
    sheets = [member.validation() for member in members]
    whole = [sheet for sheet in sheets if sheet is not None]
    first = whole[0] if whole else None
    if first is None or len(whole) < len(sheets):
        return None
    for sheet, member in zip(whole, members, strict=True):
        same_classes = np.array_equal(sheet.classes, first.classes) and np.array_equal(
            sheet.scored.seen, first.scored.seen
        )
        if sheet.sample_ids != first.sample_ids or not same_classes:
            raise UserError(
                f"{member.folder}: held out other clips than {members[0].folder}; run it again with --fresh"
            )
    return whole


def _no_validation(job: Job) -> str:
    return (
        f"--weights fitted: {describe(job)} has no validation scores to fit on; "
        "add --set selection=validation, or give --weights"
    )


def _check_alike(members: Sequence[Stored]) -> None:
    """Members of one data set and task have the same test clips; a folder that was copied in may not."""
    first = members[0]
    for member in members[1:]:
        same_data = member.result.provenance.data_fingerprints == first.result.provenance.data_fingerprints
        if not (same_data and member.result.classes == first.result.classes and member.samples.equals(first.samples)):
            raise UserError(f"{member.folder}: scores other clips than {first.folder}; run it again with --fresh")


def _check_weights(weights: tuple[float, ...], n_members: int) -> None:
    message = ",".join(f"{weight:g}" for weight in weights)
    if len(weights) != n_members:
        raise UserError(
            f"--weights {message}: {counted(len(weights), 'weight')} for {n_members} members; give one for each"
        )
    if not np.isfinite(weights).all() or min(weights) < 0 or max(weights) == 0:
        raise UserError(f"--weights {message}: weights should be 0 or more, and one of them above 0")


def _ingredients(members: Sequence[Stored]) -> list[dict[str, str]]:
    """The members' score files by hash, so that a member that was fitted again is noticed."""
    kept = SCORES, VALIDATION_SCORES
    return [
        {"job": member.result.job_hash, **{name: sha for name, sha in member.result.files.items() if name in kept}}
        for member in members
    ]


def _cost(members: Sequence[Stored]) -> dict[str, Any]:
    """The members' parameters and arithmetic in sum; nothing where one does not know its own."""
    costs = [member.result.notes.get("cost") for member in members]
    if not all(costs):
        return {}
    summed = ("parameters", "training_parameters", "flops", "macs")
    return {"cost": {name: sum(cost[name] for cost in costs if cost) for name in summed}}


def _method_record(job: FusionJob, members: Sequence[Stored]) -> MethodRecord:
    return MethodRecord(
        name=FUSION,
        version=job.version,
        summary=f"weighted sum of the {job.scale} of {len(members)} jobs",
        preset=job.first.preset,
        settings=job.settings,
        overrides=job.options(),
        setting=_setting_of(members),
        uses_unseen_texts=any(member.result.method.uses_unseen_texts for member in members),
        deterministic=job.deterministic,
        scores_with=tuple(sorted({name for member in members for name in member.result.method.scores_with})),
    )


def _setting_of(members: Sequence[Stored]) -> Setting:
    """The setting of the members that were granted something. Raises :class:`UserError` where they differ."""
    granted = {member.result.method.setting for member in members} - {Setting.INDUCTIVE}
    if len(granted) > 1:
        raise UserError(f"members of the settings {' and '.join(sorted(granted))} do not fuse; choose those of one")
    return granted.pop() if granted else Setting.INDUCTIVE


def describe(job: Job) -> str:
    """The job's method with its preset and the settings that are not the preset's, as a member is written."""
    preset = {} if job.preset == "quick" else {PRESET: job.preset}
    return member_text(job.method, {**preset, **job.overrides})


def _logit_loss(sheets: np.ndarray, labels: np.ndarray) -> Any:
    """Mean negative log-likelihood of softmax(sum of shares times logits), and its gradient in the shares (M,)."""
    rows = np.arange(len(labels))

    def loss(shares: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = log_softmax(np.tensordot(shares, sheets, axes=1), axis=1)
        expected = (np.exp(log_p) * sheets).sum(axis=2)
        return float(-log_p[rows, labels].mean()), -(sheets[:, rows, labels] - expected).mean(axis=1)

    return loss


def _mixture_loss(sheets: np.ndarray, labels: np.ndarray) -> Any:
    """Mean negative log-likelihood of the shares' mixture, and its gradient in the shares (M,).

    ``sheets`` hold logarithms of weights that need not sum to one over the columns that compete.
    """
    log_true = sheets[:, np.arange(len(labels)), labels]
    log_all = logsumexp(sheets, axis=2)

    def loss(shares: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(divide="ignore"):
            true, all_ = (logsumexp(each, axis=0, b=shares[:, None]) for each in (log_true, log_all))
        return float((all_ - true).mean()), (np.exp(log_all - all_) - np.exp(log_true - true)).mean(axis=1)

    return loss
