"""Which figures a report has, under which names, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from markupsafe import Markup

from mmcl_bench.core.files import write_atomically, write_text
from mmcl_bench.core.parallel import in_order
from mmcl_bench.core.text import slug
from mmcl_bench.evaluation.metrics import Scored, confusion, per_class_accuracy
from mmcl_bench.evaluation.ranks import Ranks
from mmcl_bench.report import figures
from mmcl_bench.report.drawing import Drawing, to_svg, write_file
from mmcl_bench.report.figures import MethodIntervals
from mmcl_bench.report.projection import map_samples
from mmcl_bench.report.table_files import written_before
from mmcl_bench.report.tables import LeaderboardRow
from mmcl_bench.report.transfer import is_without_adaptation
from mmcl_bench.results.groups import Group, metric_title

MANIFEST = ".mmcl-bench-figures.json"
"""Beside the figures: those that a report wrote, with what they show, so that a later one draws only what changed and
removes only its own."""
Which = Literal["auto", "all", "tasks", "none"]
"""The figures that are written as files: ``tasks`` are those that compare methods."""
MOST_GROUPS = 60
"""Up to so many rows of leaderboards, ``auto`` is ``all``; beyond it is ``tasks``."""
_SUFFIXES = ("png", "pdf")
_FIGURE_FORM = 3
"""Raised when the same drawing gives another file."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure in the gallery."""

    name: str
    """Stem of its files."""
    caption: str
    svg: Markup
    files: tuple[str, ...]
    """Names of its files; none where it is on the page alone."""


_Draw = Callable[[str], Drawing]
"""From the title's last words to a figure."""


@dataclass(frozen=True)
class _File:
    """A figure to write."""

    path: Path
    drawing: Drawing
    digest: str


class Gallery:
    """Draws figures for the page, and those that are wanted as PNG and PDF.

    :meth:`write` brings the folder up to date: it draws what is not there as it should be and removes what a former
    report left there.
    """

    def __init__(self, folder: Path, which: Which, n_groups: int) -> None:
        self.folder = folder
        self.which = which if which != "auto" else ("all" if n_groups <= MOST_GROUPS else "tasks")
        self._former = written_before(folder / MANIFEST, _SUFFIXES)
        self._digests: dict[str, str] = {}
        self._missing: list[_File] = []

    @property
    def files(self) -> list[Path]:
        """The files that the folder has after :meth:`write`, of this report."""
        return [self.folder / name for name in self._digests]

    def of_task(self, rows: Sequence[LeaderboardRow]) -> list[Picture]:
        """Figures that compare the methods of one task."""
        group = rows[0].group
        where = _where(group)
        stem = f"{slug(group.task.identity)}-{{}}-{group.task_key[:8]}"
        drawn = [self._add(stem.format("accuracy"), _accuracy(rows, where), compares=True)]
        if _has_both_sides(group):
            drawn.append(self._add(stem.format("seen-unseen"), _seen_unseen(rows, where), compares=True))
        if mapped := _mapped_domains(rows):
            title = f"Features of both domains\n{where}"
            drawing = figures.domain_maps(title, mapped, group.first.classes)
            drawn.append(self._add(stem.format("domains"), drawing, compares=True))
        return drawn

    def of_group(self, group: Group) -> list[Picture]:
        """Figures of one method on a task, over all its seeds."""
        stem = f"{slug(group.task.identity)}-{slug(f'{group.method.name}-{group.method.preset}')}-{{}}-{group.key[:8]}"
        kinds = dict(_group_figures(group))
        return [self._add(stem.format(kind), draw(_where(group))) for kind, draw in kinds.items()]

    def of_ranks(self, ranks: Ranks, key: str, where: str) -> Picture:
        """The critical-difference diagram of a family of tasks."""
        return self._add(key, figures.critical_difference(f"Mean ranks over tasks\n{where}", ranks), compares=True)

    def of_methods(self, name: str, drawing: Drawing) -> Picture:
        """A figure that compares methods, drawn elsewhere."""
        return self._add(name, drawing, compares=True)

    def of_oracles(self, methods: Sequence[MethodIntervals], key: str, where: str) -> Picture:
        """What choosing on the test set would have given each method of a family of tasks."""
        title = f"What choosing the step on the test set would have given\n{where}"
        return self._add(key, figures.oracle_minus_honest(title, methods), compares=True)

    def write(self, advance: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Draws missing files, by several processes where they are many. What is there stays where this is stopped."""
        if self._digests:
            self.folder.mkdir(parents=True, exist_ok=True)
        current = {name: digest for name, digest in self._former.items() if self._digests.get(name, digest) == digest}
        made = in_order(_write, self._missing, workers=None if len(self._missing) > 8 else 1, items_a_call=1)
        try:
            for done, (name, digest) in enumerate(made, 1):
                current[name] = digest
                advance(done, len(self._missing))
            for name in current.keys() - self._digests.keys():
                (self.folder / name).unlink(missing_ok=True)
                del current[name]
        finally:
            made.close()
            if self.folder.is_dir():
                write_text(self.folder / MANIFEST, json.dumps(current, indent=1, sort_keys=True) + "\n")

    def _add(self, name: str, drawing: Drawing, compares: bool = False) -> Picture:
        wanted = self.which == "all" or (self.which == "tasks" and compares)
        files = tuple(f"{name}.{suffix}" for suffix in _SUFFIXES) if wanted else ()
        for file in files:
            digest = f"{_FIGURE_FORM}:{drawing.digest}"
            self._digests[file] = digest
            if self._former.get(file) != digest or not (self.folder / file).is_file():
                self._missing.append(_File(self.folder / file, drawing, digest))
        return Picture(name, drawing.title, Markup(to_svg(drawing)), files)  # noqa: S704 - to_svg escapes its texts


def _write(file: _File) -> tuple[str, str]:
    """Writes a figure; returns its name and what it shows."""
    suffix = file.path.suffix[1:]
    write_atomically(file.path, lambda draft: write_file(file.drawing, draft, suffix))
    return file.path.name, file.digest


def _where(group: Group) -> str:
    beside = ", ".join(filter(None, ["synthetic" if group.task.synthetic else "", group.incomplete]))
    return f"{group.task.identity}{f' ({beside})' if beside else ''}"


def _accuracy(rows: Sequence[LeaderboardRow], where: str) -> Drawing:
    metrics = rows[0].group.task.metrics
    methods = [
        figures.MethodIntervals(
            row.group.label, tuple(row.figures[name] for name in metrics), row.group.method.transductive
        )
        for row in rows
    ]
    return figures.accuracy(f"Accuracy with 95% intervals\n{where}", list(map(metric_title, metrics)), methods)


def _seen_unseen(rows: Sequence[LeaderboardRow], where: str) -> Drawing:
    methods = [figures.ScoredMethod(row.group.label, row.group.runs(), row.figures["ausuc"].value) for row in rows]
    return figures.seen_unseen(f"Seen against unseen classes over all calibrations\n{where}", methods)


def _mapped_domains(rows: Sequence[LeaderboardRow]) -> list[figures.MappedDomains]:
    """Those of each first seed that has a map of both domains; methods without adaptation come first."""
    ordered = sorted((row.group for row in rows), key=lambda group: not is_without_adaptation(group))
    found = ((group, group.jobs[0].domain_map()) for group in ordered)
    return [figures.MappedDomains(group.label, **vars(kept)) for group, kept in found if kept is not None]


def _group_figures(group: Group) -> Iterator[tuple[str, _Draw]]:
    """Those of unseen classes and of training first; those with a line a class, which may be tall, last."""
    runs, classes = group.runs(), group.first.classes
    seen = np.array(group.first.seen, dtype=bool)
    if not seen.all():
        unseen = [name for name, known in zip(classes, seen, strict=True) if not known]
        among_unseen = [run.unseen_part() for run in runs]
        heading = "Confusion among unseen classes"
        yield "confusion-unseen", partial(_confusion, group, among_unseen, unseen, None, heading)
        mapped = map_samples(group.jobs[0], runs[0])
        if mapped is not None:
            yield "map", partial(_map, group, mapped)
    if any(rows for job in group.jobs for rows in job.result.history.values()):
        yield "training", partial(_training, group)
    yield "per-class", partial(_per_class, group, runs)
    if seen.all():
        yield "confusion", partial(_confusion, group, runs, classes, None, "Confusion")
    elif _has_both_sides(group):
        heading = "Confusion among all classes, calibrated"
        yield "confusion-all", partial(_confusion, group, runs, classes, seen, heading)


def _per_class(group: Group, runs: Sequence[Scored], where: str) -> Drawing:
    accuracies = np.stack([per_class_accuracy(run) for run in runs])
    title = f"Accuracy by class: {group.label}\n{where}"
    return figures.per_class_accuracy(title, group.first.classes, accuracies, runs[0].seen)


def _confusion(
    group: Group, runs: Sequence[Scored], classes: Sequence[str], seen: np.ndarray | None, heading: str, where: str
) -> Drawing:
    counts = np.sum([confusion(run) for run in runs], axis=0)
    pooled = f", {len(runs)} seeds pooled" if len(runs) > 1 else ""
    return figures.confusion_matrix(f"{heading}: {group.label}{pooled}\n{where}", counts, classes, seen)


def _map(group: Group, mapped: figures.MappedSamples, where: str) -> Drawing:
    title = f"Clips of unseen classes among class texts: {group.label}, seed {group.seeds[0]}\n{where}"
    return figures.sample_map(title, mapped)


def _training(group: Group, where: str) -> Drawing:
    runs = [
        figures.Training(job.result.seed, job.result.history, _epoch(job.result.selection.chosen)) for job in group.jobs
    ]
    return figures.training_curves(f"Training: {group.label}\n{where}", runs)


def _epoch(chosen: dict[str, object]) -> int | None:
    epoch = chosen.get("epoch")
    return epoch if isinstance(epoch, int) else None


def _has_both_sides(group: Group) -> bool:
    """Whether test clips are of seen and of unseen classes, so that there is a curve between the two."""
    if "ausuc" not in group.task.metrics:
        return False
    of_unseen = group.runs()[0].of_unseen_class
    return bool(of_unseen.any() and not of_unseen.all())
