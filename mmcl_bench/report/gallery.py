"""Which figures a report has, under which names, and how they are written."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mmcl_bench.atomic import write_atomically
from mmcl_bench.metrics import Scored, confusion, per_class_accuracy
from mmcl_bench.report import figures
from mmcl_bench.report.groups import Group, metric_title, slug
from mmcl_bench.report.tables import Standing

MANIFEST = ".mmcl-bench-figures.json"
"""Beside the figures: the names of those that a report wrote, so that a later one removes only its own."""
_FORMATS = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
"""By suffix: the metadata that would make equal figures differ between days or versions."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure in the gallery."""

    name: str
    """Stem of its files."""
    caption: str
    svg: str
    """A ``data:`` address of the SVG."""
    width: int
    """CSS pixels."""


_Draw = Callable[[str], Figure]
"""From the title's last words to a figure."""


class Gallery:
    """Writes figures to a folder, as PNG and PDF, and removes what a former report left there.

    Use as a context: leaving it without an error drops stale figures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []
        self._former = _listed(folder)

    def __enter__(self) -> Gallery:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        names = {path.name for path in self.written}
        if kind is None:
            for stale in self._former - names:
                (self.folder / stale).unlink(missing_ok=True)
        else:
            names |= self._former
        listing = json.dumps(sorted(names), indent=1) + "\n"
        write_atomically(self.folder / MANIFEST, lambda draft: draft.write_text(listing, encoding="utf-8"))

    def of_task(self, rows: Sequence[Standing]) -> list[Picture]:
        """Figures that compare the methods of one task."""
        group = rows[0].group
        drawn = [self._add(group, group.task_key, "accuracy", partial(_accuracy, rows))]
        if _has_both_sides(group):
            drawn.append(self._add(group, group.task_key, "seen-unseen", partial(_seen_unseen, rows)))
        return drawn

    def of_group(self, group: Group) -> list[Picture]:
        """Figures of one method on a task, over all its seeds."""
        kinds = dict(_group_figures(group))
        stem = f"{group.method.name}-{group.method.preset}"
        return [self._add(group, group.key, f"{stem}-{kind}", draw) for kind, draw in kinds.items()]

    def _add(self, group: Group, key: str, kind: str, draw: _Draw) -> Picture:
        task = group.task
        drawn = draw(f"{task.identity}{' (synthetic)' if task.synthetic else ''}")
        _lay_out(drawn)
        name = f"{slug(task.identity)}-{slug(kind)}-{key[:8]}"
        for suffix, metadata in _FORMATS.items():
            path = self.folder / f"{name}.{suffix}"
            write_atomically(path, partial(_save, drawn, suffix, metadata))
            self.written.append(path)
        buffer = io.BytesIO()
        _save(drawn, "svg", {"Date": None, "Creator": None}, buffer)
        address = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        return Picture(name, drawn.get_suptitle(), address, round(drawn.get_figwidth() * 100))


@matplotlib.rc_context(figures.STYLE)
def _lay_out(figure: Figure) -> None:
    """Places everything once; each format would do so again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


@matplotlib.rc_context(figures.STYLE)
def _save(figure: Figure, suffix: str, metadata: dict[str, None], target: Path | io.BytesIO) -> None:
    on_page = suffix == "svg"
    figure.savefig(target, format=suffix, metadata=metadata, dpi=160, transparent=on_page)


def _listed(folder: Path) -> set[str]:
    """Names in the manifest of a former report; the folder's own files alone, whatever the manifest says."""
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(names, list):
        return set()
    suffixes = tuple(f".{suffix}" for suffix in _FORMATS)
    return {name for name in names if isinstance(name, str) and Path(name).name == name and name.endswith(suffixes)}


def _accuracy(rows: Sequence[Standing], where: str) -> Figure:
    metrics = rows[0].group.task.metrics
    methods = [
        figures.MethodIntervals(
            row.group.label, tuple(row.figures[name] for name in metrics), row.group.method.transductive
        )
        for row in rows
    ]
    return figures.accuracy(f"Accuracy with 95% intervals\n{where}", list(map(metric_title, metrics)), methods)


def _seen_unseen(rows: Sequence[Standing], where: str) -> Figure:
    methods = [figures.ScoredMethod(row.group.label, row.group.runs(), row.figures["ausuc"].value) for row in rows]
    return figures.seen_unseen(f"Seen against unseen classes over all calibrations\n{where}", methods)


def _group_figures(group: Group) -> Iterator[tuple[str, _Draw]]:
    runs = group.runs()
    seen = np.array(group.first.seen, dtype=bool)
    yield "per-class", partial(_per_class, group, runs)
    if seen.all():
        yield "confusion", partial(_confusion, group, runs, group.first.classes, None, "Confusion")
    else:
        unseen = [name for name, known in zip(group.first.classes, seen, strict=True) if not known]
        among_unseen = [run.unseen_part() for run in runs]
        yield (
            "confusion-unseen",
            partial(_confusion, group, among_unseen, unseen, None, "Confusion among unseen classes"),
        )
        if _has_both_sides(group):
            heading = "Confusion among all classes, calibrated"
            yield "confusion-all", partial(_confusion, group, runs, group.first.classes, seen, heading)
    if any(rows for job in group.jobs for rows in job.result.history.values()):
        yield "training", partial(_training, group)


def _per_class(group: Group, runs: Sequence[Scored], where: str) -> Figure:
    accuracies = np.stack([per_class_accuracy(run) for run in runs])
    title = f"Accuracy by class: {group.label}\n{where}"
    return figures.per_class_accuracy(title, group.first.classes, accuracies, runs[0].seen)


def _confusion(
    group: Group, runs: Sequence[Scored], classes: Sequence[str], seen: np.ndarray | None, heading: str, where: str
) -> Figure:
    counts = np.sum([confusion(run) for run in runs], axis=0)
    pooled = f", {len(runs)} seeds pooled" if len(runs) > 1 else ""
    return figures.confusion_matrix(f"{heading}: {group.label}{pooled}\n{where}", counts, classes, seen)


def _training(group: Group, where: str) -> Figure:
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
    of_unseen = group.jobs[0].scored().of_unseen_class
    return bool(of_unseen.any() and not of_unseen.all())
