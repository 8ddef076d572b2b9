"""Published figures beside ours: never ranked, and only where data set, split and test side are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mmcl_bench.core import paths
from mmcl_bench.core.text import joined_datasets
from mmcl_bench.report.tables import LeaderboardRow, percent
from mmcl_bench.results.records import TaskRecord

METRICS = ("top1", "zsl_top1", "gzsl_seen", "gzsl_unseen", "gzsl_h")
"""Columns of figures, in percent as printed."""
_SAME_CLIPS = dict.fromkeys(("ntu60-cs-npz", "ntu60-cv-npz"), "ntu60")
_SAME_CLIPS |= dict.fromkeys(("ntu120-csub-npz", "ntu120-cset-npz"), "ntu120")
"""Other forms of a data set, with the same clips from the same sensor."""


@dataclass(frozen=True)
class PublishedRow:
    """A method's published figures on a task, or ours in the same form."""

    method: str
    year: str
    text_encoder: str
    figures: tuple[str, ...]
    """In the order of :attr:`Beside.metrics`."""
    unseen_texts: str
    """Whether texts of unseen classes were read in training: ``yes``, ``no`` or ``unknown``; empty where all classes
    are seen."""
    transductive: str
    """``yes``, ``no`` or ``unknown``."""
    selection: str
    """What the epoch and settings were chosen on: ``test``, ``validation`` or ``unknown``; of ours also ``fixed``."""
    how_selected: str
    """What exactly was chosen, and by what, as far as that is known."""
    calibration: str
    """The same as ``selection`` of the calibration, or ``fixed``; empty where no figure needs one."""
    note: str
    source: str


@dataclass(frozen=True)
class Beside:
    """What others report on a task of ours."""

    metrics: tuple[str, ...]
    ours: list[PublishedRow]
    published: list[PublishedRow]
    """By year and method, never by figure."""

    @property
    def inductive(self) -> list[PublishedRow]:
        """Those that are, or do not say that they are not."""
        return [row for row in self.published if "yes" not in (row.transductive, row.unseen_texts)]

    @property
    def with_unseen_texts(self) -> list[PublishedRow]:
        """Those that are not transductive, but read texts of unseen classes in training."""
        return [row for row in self.published if row.transductive != "yes" and row.unseen_texts == "yes"]

    @property
    def transductive(self) -> list[PublishedRow]:
        return [row for row in self.published if row.transductive == "yes"]

    @property
    def texts(self) -> bool:
        """Whether any of the rows names a text encoder."""
        return any(row.text_encoder for row in (*self.ours, *self.published))

    @property
    def zero_shot(self) -> bool:
        """Whether any of the rows could have read texts of unseen classes."""
        return any(row.unseen_texts for row in (*self.ours, *self.published))

    @property
    def calibrated(self) -> bool:
        """Whether a calibration is behind any of the figures."""
        return any(row.calibration for row in (*self.ours, *self.published))


def read_published(path: Path | None = None) -> pd.DataFrame:
    """The table of published figures, all of it text; without rows where it is not there, as in a partial install."""
    path = path or paths.packaged("results") / "published.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["family", "dataset", "split", "side", *METRICS])
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def beside(published: pd.DataFrame, rows: Sequence[LeaderboardRow]) -> Beside | None:
    """Published figures that are of the task of these rows; None where there is none."""
    task = rows[0].group.task
    found = matching(published, task)
    metrics = tuple(name for name in METRICS if name in task.metrics and found[name].ne("").any())
    if not metrics:
        return None
    found = found[found[list(metrics)].ne("").any(axis=1)].sort_values(["year", "method"], kind="stable")
    return Beside(
        metrics, [_ours(row, metrics) for row in rows], [_theirs(row, metrics) for _, row in found.iterrows()]
    )


def matching(published: pd.DataFrame, task: TaskRecord) -> pd.DataFrame:
    """The rows of the task's data set, split and test side. Where a source does not state the side, its row is in."""
    fewer = task.parameters.get("duplicates") == "removed" or task.parameters.get("labels", "100%") != "100%"
    if task.synthetic or fewer or not task.on_test_side:
        return published.iloc[:0]
    dataset = joined_datasets([_SAME_CLIPS.get(name, name) for name in task.datasets])
    side = task.parameters.get("side", task.split or "")
    sides = [""] if task.parameters.get("unseen_clips") == "all" else ["", side]
    same = published["family"].eq(task.family) & published["dataset"].eq(dataset) & published["split"].eq(task.split)
    return published[same & published["side"].isin(sides)]


def _theirs(row: pd.Series, metrics: Sequence[str]) -> PublishedRow:
    year = " ".join(part for part in (row["venue"], row["year"]) if part)
    figures = tuple(row[name] or "–" for name in metrics)
    same = [
        *("method", "text_encoder", "unseen_texts", "transductive"),
        *("selection", "how_selected", "calibration", "note", "source"),
    ]
    return PublishedRow(year=year, figures=figures, **{name: row[name] for name in same})


def _ours(row: LeaderboardRow, metrics: Sequence[str]) -> PublishedRow:
    group = row.group
    rule, chosen = group.first.selection.rule, group.first.selection.chosen
    of_unseen = group.task.family == "zero-shot" and group.method.uses_unseen_texts is not None
    seeds = f"mean of {len(group.seeds)} seeds" if len(group.seeds) > 1 else "one seed"
    undefined = all(math.isnan(row.figures[name].value) for name in metrics)
    return PublishedRow(
        group.label,
        "",
        group.task.parameters.get("text", ""),
        tuple(percent(row.figures[name]) for name in metrics),
        ("yes" if group.method.uses_unseen_texts else "no") if of_unseen else "",
        "yes" if group.method.transductive else "no",
        rule,
        ", ".join(sorted(chosen)) if rule == "validation" else "",
        _calibrated_on(row) if any(name.startswith("gzsl") for name in metrics) else "",
        "; ".join(filter(None, ["undefined here" if undefined else seeds, group.incomplete])),
        "this report",
    )


def _calibrated_on(row: LeaderboardRow) -> str:
    result = row.group.first
    if row.group.foreign:
        return str(result.notes.get("calibration", "unknown"))
    return "validation" if result.selection.n_validation else "none"
