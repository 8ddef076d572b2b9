"""Runs a job: selection on validation where needed, fit, scores, metrics, result."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.core.compute import deterministic
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import DamagedError, is_disk_full, remove_drafts, write_text
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.parallel import can_fork
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.evaluation.metrics import METRICS, Scored, fit_calibration, real_scores
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs, Protocol
from mmcl_bench.protocols.problem import Context, FitReport, Problem, Progress, silent
from mmcl_bench.results import provenance
from mmcl_bench.results import store as results
from mmcl_bench.results.records import Oracle, Selection
from mmcl_bench.results.store import DomainMap, Embeddings, Stored, Validation
from mmcl_bench.running.fit_ahead import FitAhead
from mmcl_bench.running.identity import locked_folder, result_folder
from mmcl_bench.running.jobs import Job
from mmcl_bench.running.recording import History, JobOutput, selection_record, write_sheets
from mmcl_bench.running.validity import WeightHashes, checkpoint_environment, encoder_weights, what_differs, why_stale
from mmcl_bench.running.work_folder import FAILURE, WorkTime, forget_failure, has_checkpoints, record_failure

ORACLE_EPOCHS = 10
"""Maximum number of kept epochs for the oracle: with a large test, scoring every one takes as long as training."""
MOST_EMBEDDED = 2000
"""Unseen-class test clips whose embeddings are kept, for a map of a few MB at most."""
MOST_MAPPED = 300
"""Clips of each domain of a transfer that are kept for a map."""
ENVIRONMENT = "environment.json"
"""In a work folder: what the checkpoints there depend on, and the numbers of threads of the fits that made them."""
THREADS = "threads"
_FITS_OF_DAMAGE = 3
"""How many times a job whose checkpoints are damaged while it runs restarts from the undamaged ones."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunSite:
    """Where a job runs. On one machine, only the device can change a number."""

    data_root: Path
    results_root: Path
    device: str = "cpu"
    progress: Progress = silent
    scalars: Path | None = None
    """Folder for training curves in TensorBoard's format, with one folder per job and fit; None: not written."""
    any_device: bool = False
    """Whether ``device`` is only a default, so that results of other kinds of device are valid as well."""
    weights: WeightHashes = field(default_factory=WeightHashes, compare=False, repr=False)
    """Hashes of encoder weights found so far."""

    @property
    def asked_device(self) -> str | None:
        """The device that a stored result must be from; None for any."""
        return None if self.any_device else self.device


def run_job(job: Job, where: RunSite, fresh: bool = False, wait: bool = True) -> tuple[Stored, bool]:
    """The job's stored result if it is valid here, else a new one; and whether it is new.

    With ``fresh`` a stored result is ignored. An interrupted job continues from its last checkpoint. Stale or damaged
    results are named in the log and made again. A job that fails writes the reason to its folder, see
    :mod:`.work_folder`.

    Raises :class:`filelock.Timeout` if ``wait`` is false and another runner has the job.
    """
    data = {name: open_dataset(name, where.data_root, _preparing(where.progress, name)) for name in job.task.datasets}
    fingerprints = {name: dataset.card.fingerprint for name, dataset in data.items()}
    folder = result_folder(job, where.results_root)
    if not fresh and not _to_tidy(folder):
        stored, _ = _stored(job, where, folder, fingerprints)
        if stored is not None:
            return stored, False
    # Of two runners that want one job, the second waits and then finds the result.
    with locked_folder(job, where.results_root, wait):
        stored, why_not = (None, "") if fresh else _stored(job, where, folder, fingerprints)
        if stored is not None:
            forget_failure(folder)
            shutil.rmtree(folder / "work", ignore_errors=True)
            return stored, False
        if why_not:
            _LOG.warning("%s: %s; it is run again", folder, why_not)
        environment = checkpoint_environment(fingerprints, where.device) | encoder_weights(job, where.weights)
        remove_drafts(folder)
        if fresh or _work_is_stale(folder, environment):
            shutil.rmtree(folder / "work", ignore_errors=True)
        try:
            return _finished(job, where, folder, data, fingerprints, environment), True
        except BaseException as error:
            if isinstance(error, Exception) and not is_disk_full(error):
                record_failure(folder, job.hash, error, environment)
            raise


def _to_tidy(folder: Path) -> bool:
    """Whether a kill between the writing of a result and the end of the run left files, which can be removed."""
    return any((folder / name).exists() for name in ("work", FAILURE)) and os.access(folder, os.W_OK)


def _stored(job: Job, where: RunSite, folder: Path, fingerprints: dict[str, str]) -> tuple[Stored | None, str]:
    """The stored result if it is undamaged and valid; else why it is not, empty where there is none."""
    try:
        stored = Stored.open(folder)
    except DamagedError as error:
        return None, str(error)
    if stored is None:
        return None, ""
    origin = stored.result.provenance.model_dump()
    why = why_stale(job, origin, fingerprints, where.asked_device, where.weights)
    return (stored, "") if why is None else (None, f"stale: {why}")


def _finished(
    job: Job,
    where: RunSite,
    folder: Path,
    data: Mapping[str, SkeletonDataset],
    fingerprints: dict[str, str],
    environment: dict[str, str],
) -> Stored:
    """A new result; if checkpoints turn out to be damaged, it is made from the undamaged ones."""
    for _ in range(_FITS_OF_DAMAGE):
        try:
            return _Run(job, where, folder).result(data, fingerprints, environment)
        except DamagedError as error:
            _LOG.warning("%s; it is set aside, and the job goes on from what is sound", error)
    raise UserError(
        f"{folder / 'work'}: checkpoints are damaged again and again; check the disk, then the same command"
    )


class _Run:
    """One job that is being run."""

    def __init__(self, job: Job, where: RunSite, folder: Path) -> None:
        self.job = job
        self.where = where
        self.folder = folder
        self.work = folder / "work"
        self._model = self.work / "model"
        self.started = provenance.start()
        self._fit_seconds = 0.0
        self._score_seconds = 0.0

    def result(
        self, data: Mapping[str, SkeletonDataset], fingerprints: dict[str, str], environment: dict[str, str]
    ) -> Stored:
        self._time = WorkTime(self.work)
        method_class = METHODS.get(self.job.method)
        asking, slots = method_class(**self.job.settings), method_class.needed_text_slots(self.job.settings)
        draws = asking.pseudo_unseen_draws()
        needs = Needs(
            encoders=asking.encoders(),
            setting=method_class.setting,
            seed=self.job.seed,
            text_slots=slots,
            draws=draws,
            scores_with=method_class.scores_with,
            unlabelled=asking.reads_unlabelled,
        )
        self._advance("reading clips", 0, 1)
        protocol = PROTOCOLS.get(self.job.task.protocol)(
            self.job.task, data, needs, self.where.data_root / "cache", self.job.limit, self._advance
        )
        threads_of_fits = self._threads_of_fits(asking, len(protocol.train_rows))
        threads = self._threads(threads_of_fits)
        write_text(self.work / ENVIRONMENT, json.dumps({**environment, THREADS: threads}))
        history: History = {}
        with deterministic(self.where.device):
            selection, validation, method, report = self._both_fits(asking, protocol, threads_of_fits, history)
            # Saved before it scores, as scoring may use up random numbers.
            model_files = method.save(self._model)
            self._advance("scoring", 0, 1)
            clips, begin = protocol.test_clips(), time.monotonic()
            scores = _checked(method.score(clips), len(clips), len(protocol.embedded_classes), method.name)
            self._score_seconds = time.monotonic() - begin
            scores = _of_candidates(scores, protocol)
            scored = protocol.test_scored(scores, selection.calibration)
            embeddings = _embeddings(method, protocol, scored)
            domains = _domain_map(method, protocol)
            oracle = self._oracle(method, protocol, scored, report)
            notes = {**report.notes, **_validation_note(selection, protocol), **_cost_note(method)}
            notes |= {"features": protocol.feature_notes} if protocol.feature_notes else {}
            notes |= {"texts": protocol.text_notes} if protocol.text_notes else {}
            notes |= {THREADS: threads} if len(threads) > 1 else {}
        return self._write(
            JobOutput(
                protocol=protocol,
                method=method,
                scored=scored,
                selection=selection,
                validation=validation,
                embeddings=embeddings,
                domains=domains,
                oracle=oracle,
                history=history,
                notes=notes,
                model_files=model_files,
            ),
            fingerprints,
        )

    def _threads_of_fits(self, method: Method, n_clips: int) -> int:
        """Threads of each fit: half of all where both fits may train at once, whether or not they do, so that a job
        that goes on after a stop has the same number."""
        import torch

        threads = torch.get_num_threads()
        two = (
            sys.platform == "linux"
            and self.where.device == "cpu"
            # Where there is a GPU, torch refuses gradients in a process that was forked after others were computed.
            and not torch.cuda.is_available()
            and method.selects(self.job.task.method_family)
            and method.may_begin_before_choice(n_clips)
        )
        return max(1, threads // 2) if two else threads

    def _threads(self, now: int) -> list[int]:
        """Numbers of threads of the fits in all runs of the job, this run's last; more than one number is logged."""
        try:
            former = json.loads((self.work / ENVIRONMENT).read_bytes())[THREADS]
        except (OSError, ValueError, KeyError):
            former = []
        former = [threads for threads in former if threads != now] if has_checkpoints(self.work) else []
        if former:
            _LOG.warning(
                "%s: begun with threads: %s, goes on with %d; its last digits are those of neither, as its notes list",
                self.folder,
                " and ".join(map(str, former)),
                now,
            )
        return [*former, now]

    def _both_fits(
        self, asking: Method, protocol: Protocol, threads: int, history: History
    ) -> tuple[Selection, Validation | None, Method, FitReport]:
        """The first fit, which chooses, and the final one, each on so many threads: at once where these are not all."""
        import torch

        final, ahead, all_threads = self.work / "final", self.work / "final-ahead", torch.get_num_threads()
        with contextlib.ExitStack() as stack:
            problem, begun = None, None
            if threads < all_threads and not final.is_dir() and self.where.scalars is None and can_fork():
                problem = protocol.final_problem()
                fit = partial(METHODS.get(self.job.method)(**self.job.settings).fit, problem)
                begun = FitAhead(fit, replace(self._context("final", None), folder=ahead))
                stack.callback(begun.stop)
            torch.set_num_threads(threads)
            stack.callback(torch.set_num_threads, all_threads)
            if begun is not None:
                begun.start()
            selection, validation = self._select(type(asking), protocol, history)
            chosen = selection.chosen if selection.rule == "validation" else None
            if begun is not None:
                begin = time.monotonic()
                begun.finish(chosen, self._context("final", None).progress)
                self._fit_seconds += time.monotonic() - begin
            if ahead.is_dir() and not final.is_dir():
                if chosen is None or set(chosen) != {"epoch", "of"}:
                    raise ValueError(
                        f"method {asking.name} chose more than epochs: its may_begin_before_choice has to be false"
                    )
                ahead.rename(final)
            if problem is None:
                problem = protocol.final_problem()
            return selection, validation, *self._fitted(protocol, problem, "final", chosen, history)

    def _select(
        self, method_class: type[Method], protocol: Protocol, history: History
    ) -> tuple[Selection, Validation | None]:
        """The first fit: on validation it chooses epoch, settings and calibration."""
        if not method_class(**self.job.settings).selects(self.job.task.method_family):
            return selection_record("fixed", self.job.task.metrics, None), None
        problem = protocol.selection_problem()
        if problem.validation is None:
            raise ValueError(f"{self.job.task.protocol}: a selection problem has no validation clips")
        method, report = self._fitted(protocol, problem, "selection", None, history)
        scores = _checked(
            method.score(problem.validation.clips), len(problem.validation), len(problem.classes), method.name
        )
        seen, labels = problem.classes.seen, problem.validation.labels
        calibration = report.calibration if protocol.calibrated else 0.0
        if calibration is None:
            calibration = 0.0 if seen.all() else fit_calibration(scores, labels, seen)
        scored = Scored(scores, labels, seen, calibration)
        selection = selection_record("validation", self.job.task.metrics, scored, report.chosen)
        if len(protocol.embedded_classes) > len(protocol.classes):
            # Classes that the result does not have.
            return selection, None
        columns = np.flatnonzero(protocol.classes.seen)
        return selection, Validation(scored, tuple(protocol.validation_sample_ids()), columns)

    def _fitted(
        self, protocol: Protocol, problem: Problem, phase: str, chosen: Mapping[str, Any] | None, history: History
    ) -> tuple[Method, FitReport]:
        """A fitted method. A source-free one is made anew from what it saved, and then sees the target's clips; in the
        first fit, which is scored on source clips, it sees none."""
        method = METHODS.get(self.job.method)(**self.job.settings)
        begin = time.monotonic()
        # A method without steps says nothing more until it is fitted.
        self._advance(f"{phase}: fit", 0, 1)
        report = method.fit(problem, self._context(phase, chosen))
        self._fit_seconds += time.monotonic() - begin - report.shared_seconds
        history[phase] = report.history
        if method.setting is not Setting.SOURCE_FREE or problem.validation is not None:
            return method, report
        target = protocol.target_clips()
        fitted = self.work / phase / "fitted"
        if not method.save(fitted):
            raise ValueError(f"method {method.name} is source-free and saves no model to adapt")
        method = METHODS.get(self.job.method)(**self.job.settings)
        method.load(fitted, self.where.device)
        begin = time.monotonic()
        adapted = method.adapt(target, self._context(f"{phase} adaptation", report.chosen))
        self._fit_seconds += time.monotonic() - begin
        history[f"{phase} adaptation"] = adapted.history
        # Its calibration is of scores before adapting.
        return method, FitReport(report.chosen | adapted.chosen, report.history, notes=report.notes | adapted.notes)

    def _oracle(self, method: Method, protocol: Protocol, scored: Scored, report: FitReport) -> Oracle | None:
        """The best test figure over some of the kept epochs, on the clips of the main metric.

        Afterwards the method is back at the epoch that its fit left it with.
        """
        epochs = _spread(method.snapshots(), ORACLE_EPOCHS)
        metric = METRICS.get(self.job.task.card.main_metric)
        counted = metric.counted(scored)
        if not epochs or not counted.any():
            return None
        clips, labels = protocol.test_clips(counted), scored.labels[counted]
        figures = []
        fitted = at = epochs[-1] if report.snapshot is None else report.snapshot
        for done, epoch in enumerate(epochs):
            self._advance("oracle", done, len(epochs))
            if epoch == report.snapshot and counted.all():
                scores = scored.scores
            else:
                method.restore(at := epoch)
                scores = _of_candidates(method.score(clips), protocol)
            figures.append(metric(Scored(scores, labels, scored.seen, scored.calibration)))
        if at != fitted:
            method.restore(fitted)
        if np.isnan(figures).all():
            return None
        best = int(np.nanargmax(figures))
        return Oracle(
            metric=metric.name,
            value=figures[best],
            epoch=epochs[best],
            epochs_tried=tuple(epochs),
            figures=tuple(figures),
        )

    def _write(self, findings: JobOutput, fingerprints: dict[str, str]) -> Stored:
        protocol = findings.protocol
        files = write_sheets(self.folder, findings.scored, protocol.test_sample_ids(), findings.validation)
        files |= results.write_embeddings(self.folder, findings.embeddings)
        files |= results.write_domain_map(self.folder, findings.domains)
        files |= results.place_model(self.folder, self._model, findings.model_files)
        origin = provenance.collect(
            self.started,
            self.where.device,
            fingerprints,
            protocol.weight_hashes,
            self._time.former_seconds,
            self._time.starts,
            self._fit_seconds,
            self._score_seconds,
        )
        stored = results.write_result(self.folder, findings.result(self.job, origin, files))
        forget_failure(self.folder)
        shutil.rmtree(self.work, ignore_errors=True)
        return stored

    def _context(self, phase: str, chosen: Mapping[str, Any] | None) -> Context:
        def progress(what: str, done: int, total: int, figures: Mapping[str, float]) -> None:
            self._time.tick()
            self.where.progress(f"{phase}: {what}", done, total, figures)

        return Context(
            seed=self.job.derived_seed(phase),
            folder=self.work / phase,
            device=self.where.device,
            progress=progress,
            chosen=chosen,
            shared=self.where.data_root / "cache",
            shared_seed=derive_seed(self.job.task.draws_hash, self.job.seed, phase),
            scalars=self.where.scalars and self.where.scalars / self.job.folder / phase,
        )

    def _advance(self, what: str, done: int, total: int) -> None:
        self._time.tick()
        self.where.progress(what, done, total, {})


def _validation_note(selection: Selection, protocol: Protocol) -> dict[str, Any]:
    """Notes on clips that were held out in another way than by subject, if a first fit chose on them."""
    chosen_on = selection.rule == "validation" and protocol.validation_notes
    return {"validation": dict(protocol.validation_notes)} if chosen_on else {}


def _cost_note(method: Method) -> dict[str, Any]:
    """Cost of scoring one clip with the fitted network; empty for a method without one."""
    network = method.fitted_network()
    if network is None:
        return {}
    from mmcl_bench.inference.cost import complexity

    return {"cost": complexity(network).as_json()}


def _embeddings(method: Method, protocol: Protocol, scored: Scored) -> Embeddings | None:
    """Embeddings of the first clips of unseen classes and of the class texts; None if the method has no such space.

    The order of test clips is random, so the first of them are a random sample.
    """
    texts = protocol.embedded_classes.embeddings
    texts = None if texts is None else texts[-len(protocol.classes) :]
    rows = np.flatnonzero(scored.of_unseen_class)[:MOST_EMBEDDED]
    if texts is None or len(rows) == 0:
        return None
    mask = np.zeros(len(scored), dtype=bool)
    mask[rows] = True
    samples = method.embed(protocol.test_clips(mask))
    if samples is None:
        return None
    if samples.shape != (len(rows), texts.shape[1]):
        raise ValueError(f"method {method.name} embedded clips as {samples.shape}, not {(len(rows), texts.shape[1])}")
    return Embeddings(_unit(samples), rows, _unit(texts[~scored.seen]))


def _domain_map(method: Method, protocol: Protocol) -> DomainMap | None:
    """The first clips of both domains of a transfer, on two principal components of their features.

    Both domains count alike. None for other tasks, and for methods without features.
    """
    if protocol.task.method_family != "transfer":
        return None
    source, target = (np.arange(len(rows)) < MOST_MAPPED for rows in (protocol.train_rows, protocol.test_rows))
    features = method.embed_domains(protocol.train_clips(source), protocol.test_clips(target))
    if features is None or features[0].shape[1] < 2 or not all(np.isfinite(each).all() for each in features):
        return None
    from sklearn.decomposition import PCA

    many = max(map(len, features))
    fitted = PCA(2, svd_solver="full").fit(
        np.concatenate([np.resize(each, (many, each.shape[1])) for each in features])
    )
    placed = [fitted.transform(each).astype(np.float32) for each in features]
    labels = protocol.train_rows.columns[source], protocol.test_rows.columns[target]
    return DomainMap(placed[0], labels[0], placed[1], labels[1])


def _unit(rows: np.ndarray) -> np.ndarray:
    """float16 rows of length 1."""
    unit: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit.astype(np.float16)


def _work_is_stale(folder: Path, environment: dict[str, str]) -> bool:
    """Whether an interrupted run's checkpoints depend on something that has changed; logs it."""
    work = folder / "work"
    if not work.is_dir():
        return False
    why = why_checkpoints_stale(work, environment)
    if why is not None and has_checkpoints(work):
        _LOG.warning("%s: checkpoints of a stopped run are left aside (%s); it starts anew", folder, why)
    return why is not None


def why_checkpoints_stale(work: Path, environment: Mapping[str, str | None]) -> str | None:
    """Why an interrupted run cannot be resumed, in a few words; None where it can."""
    try:
        return what_differs(json.loads((work / ENVIRONMENT).read_bytes()), environment)
    except (OSError, ValueError):
        return what_differs(None, environment)


def _preparing(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"preparing {name}", done, total, {})


def _spread(epochs: list[int], at_most: int) -> list[int]:
    """Some of the epochs, evenly spaced, including the last one."""
    places = np.linspace(len(epochs) - 1, 0, min(at_most, len(epochs))).round().astype(int)
    return [epochs[place] for place in sorted(set(places.tolist()))]


def _of_candidates(scores: np.ndarray, protocol: Protocol) -> np.ndarray:
    """The columns of the candidate classes, which are the last that a method scores."""
    return np.ascontiguousarray(scores[:, -len(protocol.classes) :])


def _checked(scores: np.ndarray, n_clips: int, n_classes: int, method: str) -> np.ndarray:
    """Scores in the precision that is kept. Raises :class:`ValueError` when they are not finite real numbers
    (n_clips, n_classes)."""
    try:
        scores = real_scores(scores)
    except ValueError as error:
        raise ValueError(f"method {method}: {error}") from error
    if scores.shape != (n_clips, n_classes):
        raise ValueError(f"method {method} gave scores of shape {scores.shape}, not {(n_clips, n_classes)}")
    if not np.isfinite(scores).all():
        raise ValueError(f"method {method} gave scores that are not finite")
    return scores
