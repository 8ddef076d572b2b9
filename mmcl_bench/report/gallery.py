"""Which figures a report has, under which names, and how they are written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from markupsafe import Markup

from mmcl_bench.core.files import write_atomically, write_text
from mmcl_bench.core.parallel import in_order
from mmcl_bench.core.plotting import import_matplotlib
from mmcl_bench.core.text import counted, slug
from mmcl_bench.evaluation.metrics import Scored, confusion, per_class_accuracy
from mmcl_bench.report import figures
from mmcl_bench.report.drawing import Draw, chart_style, to_svg, write_file
from mmcl_bench.report.projection import map_samples
from mmcl_bench.report.split_means import SplitMean, headline_metrics
from mmcl_bench.report.table_files import written_before
from mmcl_bench.report.tables import LeaderboardRow
from mmcl_bench.report.transfer import is_without_adaptation
from mmcl_bench.results.groups import SETTINGS, Group, metric_title

MANIFEST = ".mmcl-bench-figures.json"
"""Beside the figures: those that a report wrote, with what they show, so that a later one draws only what changed and
removes only its own."""
Which = Literal["auto", "all", "tasks", "none"]
"""The figures that are written as files: ``tasks`` are those that compare methods."""
MOST_GROUPS = 60
"""Up to so many rows of leaderboards, ``auto`` is ``all``; beyond it is ``tasks``."""
GroupFigure = tuple[str, str, Draw]
"""Kind, heading, and how it is drawn."""
_SUFFIXES = ("png", "pdf")
_FIGURE_FORM = 4
"""Raised when a figure of the same SVG gives another file."""


@dataclass
class Picture:
    """A figure of the page."""

    name: str
    """Stem of its files."""
    caption: str
    files: tuple[str, ...]
    """Names of its files; none where it is on the page alone."""
    svg: Markup = field(default_factory=Markup)
    """Empty until :meth:`Gallery.draw`."""


@dataclass(frozen=True)
class _Order:
    """A figure to draw, by whatever process."""

    name: str
    title: str
    draw: Draw
    files: dict[Path, str]
    """What each of its files showed before, empty where it is not there."""


class Gallery:
    """Collects the figures of a page, and draws them: for the page, and those that are wanted as PNG and PDF."""

    def __init__(self, folder: Path, which: Which, looks: figures.Looks) -> None:
        self.folder = folder
        self.which = which
        self.looks = looks
        self.pictures: list[Picture] = []
        self._former = written_before(folder / MANIFEST, _SUFFIXES)
        self._orders: list[_Order] = []

    @property
    def files(self) -> list[Path]:
        """The files that the folder has after :meth:`draw`, of this report."""
        return [self.folder / name for picture in self.pictures for name in picture.files]

    def of_task(self, rows: Sequence[LeaderboardRow], scored: Sequence[figures.ScoredMethod]) -> list[Picture]:
        """Figures that compare the methods of one task; ``scored`` are those of :func:`scored_method`."""
        group, where = rows[0].group, where_of(rows[0].group)
        stem = f"{slug(group.task.identity)}-{{}}-{group.task_key[:8]}"
        metrics = group.task.metrics
        methods = [
            figures.MethodIntervals(
                row.group.label, tuple(row.figures[name] for name in metrics), row.group.method.transductive
            )
            for row in sorted(rows, key=lambda row: SETTINGS.index(row.group.setting))
        ]
        titles = [f"{metric_title(name)}, %" for name in metrics]
        draw = partial(figures.intervals, titles, methods, self.looks, (0, 100))
        drawn = [self.add(stem.format("accuracy"), f"Accuracy with 95% intervals\n{where}", draw)]
        if scored:
            title = f"Seen against unseen classes over all calibrations\n{where}"
            draw = partial(figures.seen_unseen, scored, self.looks)
            drawn.append(self.add(stem.format("seen-unseen"), title, draw))
        if mapped := _mapped_domains(rows):
            title = f"Features of both domains\n{where}"
            draw = partial(figures.domain_maps, mapped, group.first.classes)
            drawn.append(self.add(stem.format("domains"), title, draw))
        return drawn

    def of_class_folds(self, means: Sequence[SplitMean]) -> Picture:
        """A figure of methods on the same class folds of a task."""
        metrics = headline_metrics(means)
        methods = [
            figures.MethodIntervals(
                mean.group.label,
                tuple(mean.of_these_classes[name] for name in metrics),
                mean.group.method.transductive,
                tuple(mean.figures[name] for name in metrics),
            )
            for mean in means
        ]
        draw = partial(
            figures.intervals, [f"{metric_title(name)}, %" for name in metrics], methods, self.looks, (0, 100)
        )
        title = f"{where_of(means[0].group, means[0].task)}, pooled over {counted(len(means[0].rows), 'fold')}"
        note = "95% intervals for these classes; thin lines: for other classes"
        folds = hashlib.sha256(means[0].splits_key.encode()).hexdigest()
        return self.add(f"{slug(means[0].task)}-class-folds-{folds[:8]}", f"{title}\n{note}", draw)

    def of_group(self, group: Group, drawn: Sequence[GroupFigure]) -> list[Picture]:
        """Figures of one method on a task, over all its seeds: those of :func:`group_figures`."""
        stem = f"{slug(group.task.identity)}-{slug(f'{group.method.name}-{group.method.preset}')}-{{}}-{group.key[:8]}"
        return [
            self.add(stem.format(kind), f"{heading}\n{where_of(group)}", draw, compares=False)
            for kind, heading, draw in drawn
        ]

    def add(self, name: str, title: str, draw: Draw, compares: bool = True) -> Picture:
        """A figure, to be drawn later; whether it ``compares`` methods decides whether it is wanted as a file."""
        wanted = self.which == "all" or (self.which == "tasks" and compares)
        files = [self.folder / f"{name}.{suffix}" for suffix in _SUFFIXES] if wanted else []
        former = {path: self._former.get(path.name, "") if path.is_file() else "" for path in files}
        self._orders.append(_Order(name, title, draw, former))
        self.pictures.append(Picture(name, title, tuple(path.name for path in files)))
        return self.pictures[-1]

    def draw(self, advance: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Draws all figures, by several processes where they are many, and brings the folder up to date: files of
        figures that did not change stay, and those that a former report left are removed."""
        import_matplotlib()
        if self.files:
            self.folder.mkdir(parents=True, exist_ok=True)
        digests = dict(self._former)
        made = in_order(_draw, self._orders, workers=None if len(self._orders) > 8 else 1, items_a_call=2)
        try:
            for done, (picture, (svg, digest)) in enumerate(zip(self.pictures, made, strict=True), 1):
                picture.svg = Markup(svg)  # noqa: S704 - to_svg escapes its texts
                digests |= dict.fromkeys(picture.files, digest)
                advance(done, len(self._orders))
            for name in digests.keys() - {path.name for path in self.files}:
                (self.folder / name).unlink(missing_ok=True)
                del digests[name]
        finally:
            made.close()
            if self.folder.is_dir():
                write_text(self.folder / MANIFEST, json.dumps(digests, indent=1, sort_keys=True) + "\n")


def _draw(order: _Order) -> tuple[str, str]:
    """The SVG of a figure and the digest of what it shows; writes those of its files that show something else."""
    with chart_style():
        figure = order.draw()
        svg = to_svg(figure, order.name, order.title)
        digest = f"{_FIGURE_FORM}:{hashlib.sha256(svg.encode()).hexdigest()}"
        for path, former in order.files.items():
            if former != digest:
                write = partial(write_file, figure, order.title, suffix=path.suffix[1:])
                write_atomically(path, write)
    return svg, digest


def where_of(group: Group, task: str = "") -> str:
    """The task, by its identity where it is not called otherwise, and what sets its data apart."""
    beside = ", ".join(filter(None, ["synthetic" if group.task.synthetic else "", group.incomplete]))
    return f"{task or group.task.identity}{f' ({beside})' if beside else ''}"


def _mapped_domains(rows: Sequence[LeaderboardRow]) -> list[figures.MappedDomains]:
    """Those of each first seed that has a map of both domains; methods without adaptation come first."""
    ordered = sorted((row.group for row in rows), key=lambda group: not is_without_adaptation(group))
    found = ((group, group.jobs[0].domain_map()) for group in ordered)
    return [figures.MappedDomains(group.label, **vars(kept)) for group, kept in found if kept is not None]


def scored_method(row: LeaderboardRow) -> figures.ScoredMethod | None:
    """A method on seen and unseen classes; None where its task has no curve between the two."""
    runs = row.group.runs()
    if not _has_both_sides(row.group, runs[0]):
        return None
    return figures.scored_method(row.group.label, runs, row.figures["ausuc"].value)


def group_figures(group: Group) -> Iterator[GroupFigure]:
    """Those of unseen classes and of training first; those with a line a class, which may be tall, last."""
    runs, classes, label = group.runs(), group.first.classes, group.label
    seen = np.array(group.first.seen, dtype=bool)
    pooled = f"{label}, {len(runs)} seeds pooled" if len(runs) > 1 else label
    if not seen.all():
        unseen = [name for name, known in zip(classes, seen, strict=True) if not known]
        draw = partial(figures.confusion_matrix, _counts([run.unseen_part() for run in runs]), unseen)
        yield "confusion-unseen", f"Confusion among unseen classes: {pooled}", draw
        mapped = map_samples(group.jobs[0], runs[0])
        if mapped is not None:
            heading = f"Clips of unseen classes among class texts: {label}, seed {group.seeds[0]}"
            yield "map", heading, partial(figures.sample_map, mapped)
    results = [job.result for job in group.jobs]
    curves = [figures.Training(each.seed, each.history, _epoch(each.selection.chosen)) for each in results]
    if figures.curves_of(curves):
        yield "training", f"Training: {label}", partial(figures.training_curves, curves)
    accuracies = np.stack([per_class_accuracy(run) for run in runs])
    draw = partial(figures.per_class_accuracy, classes, accuracies, runs[0].seen)
    yield "per-class", f"Accuracy by class: {label}", draw
    if seen.all():
        yield "confusion", f"Confusion: {pooled}", partial(figures.confusion_matrix, _counts(runs), classes)
    elif _has_both_sides(group, runs[0]):
        draw = partial(figures.confusion_matrix, _counts(runs), classes, seen)
        yield "confusion-all", f"Confusion among all classes, calibrated: {pooled}", draw


def _counts(runs: Sequence[Scored]) -> np.ndarray:
    counts: np.ndarray = np.sum([confusion(run) for run in runs], axis=0)
    return counts


def _epoch(chosen: dict[str, object]) -> int | None:
    epoch = chosen.get("epoch")
    return epoch if isinstance(epoch, int) else None


def _has_both_sides(group: Group, run: Scored) -> bool:
    """Whether test clips are of seen and of unseen classes, so that there is a curve between the two."""
    of_unseen = run.of_unseen_class
    return "ausuc" in group.task.metrics and bool(of_unseen.any() and not of_unseen.all())
