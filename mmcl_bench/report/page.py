"""The report: one self-contained HTML page with its tables and figures beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mmcl_bench.atomic import write_atomically
from mmcl_bench.report import tables
from mmcl_bench.report.gallery import Gallery, Picture
from mmcl_bench.report.groups import Group, metric_names, metric_title, slug, unlimited
from mmcl_bench.report.lineage import origin_of
from mmcl_bench.report.tables import Standing
from mmcl_bench.results import damaged_results, require_results

PAGE = "index.html"
FIGURES = "figures"


@dataclass(frozen=True)
class ReportSummary:
    """What a report wrote, and of what."""

    page: Path
    leaderboards: list[Path]
    figures: list[Path]
    n_jobs: int
    """Jobs in the tables."""
    n_limited: int
    """Smoke runs, which are left out."""
    damaged: list[Path]
    """Folders of results that cannot be trusted, and are left out."""


def build_report(results_root: Path, reports_root: Path) -> ReportSummary:
    """Writes ``index.html``, the leaderboards and the figures; the same results give the same bytes.

    Raises :class:`~mmcl_bench.errors.UserError` when there is no result.
    """
    stored = require_results(results_root)
    damaged = damaged_results(results_root)
    ranked = unlimited(stored)
    reports_root.mkdir(parents=True, exist_ok=True)
    rows = tables.standings(ranked)
    leaderboards = tables.write_frame(tables.frame_of(rows), reports_root)
    with Gallery(reports_root / FIGURES) as gallery:
        origins = [_origin(synthetic, rows, gallery) for synthetic in (False, True)]
    html = _render(
        origins=[origin for origin in origins if origin.families],
        leaderboards=[path.name for path in leaderboards],
        n_jobs=len(ranked),
        n_limited=len(stored) - len(ranked),
        n_damaged=len(damaged),
    )
    page = reports_root / PAGE
    write_atomically(page, lambda draft: draft.write_text(html, encoding="utf-8", newline=""))
    return ReportSummary(page, leaderboards, gallery.written, len(ranked), len(stored) - len(ranked), damaged)


@dataclass(frozen=True)
class _Head:
    """A metric's column."""

    name: str
    title: str


@dataclass(frozen=True)
class _Cell:
    value: str
    """What the column sorts by; empty where undefined."""
    percent: str
    bounds: str
    main: bool


@dataclass(frozen=True)
class _Row:
    group: Group
    anchor: str
    cells: list[_Cell]
    lead: str
    """How far it is ahead of the first row of its table, or why that is not said."""
    resolved: bool | None
    """Whether that difference is told from none; None where nothing is compared."""
    oracle: str


@dataclass(frozen=True)
class _Block:
    """The rows of one task and setting, which alone are ranked together."""

    setting: str
    rows: list[_Row]


@dataclass(frozen=True)
class _Detail:
    """What stands below the tables of one group."""

    group: Group
    anchor: str
    facts: list[tuple[str, str]]
    pictures: list[Picture]


@dataclass(frozen=True)
class _Task:
    group: Group
    """Any group of the task, for its record."""
    anchor: str
    blocks: list[_Block]
    pictures: list[Picture]
    details: list[_Detail]


@dataclass(frozen=True)
class _Family:
    name: str
    heads: list[_Head]
    tasks: list[_Task]


@dataclass(frozen=True)
class _Origin:
    synthetic: bool
    families: list[_Family]


def _render(**content: Any) -> str:
    environment = Environment(
        loader=PackageLoader("mmcl_bench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(**content)


def _origin(synthetic: bool, rows: Sequence[Standing], gallery: Gallery) -> _Origin:
    own = [row for row in rows if row.group.task.synthetic == synthetic]
    families = groupby(own, key=lambda row: row.group.task.family)
    return _Origin(synthetic, [_family(name, list(members), gallery) for name, members in families])


def _family(name: str, rows: Sequence[Standing], gallery: Gallery) -> _Family:
    metrics = metric_names(row.group for row in rows)
    of_tasks = groupby(rows, key=lambda row: row.group.task_key)
    tasks = [_task(list(members), metrics, gallery) for _, members in of_tasks]
    return _Family(name, [_Head(metric, metric_title(metric)) for metric in metrics], tasks)


def _task(rows: Sequence[Standing], metrics: Sequence[str], gallery: Gallery) -> _Task:
    group = rows[0].group
    of_setting = {
        setting: [row for row in rows if row.group.setting == setting] for setting in ("inductive", "transductive")
    }
    return _Task(
        group,
        f"{slug(group.task.identity)}-{group.task_key[:8]}",
        [_Block(setting, _rows(members, metrics)) for setting, members in of_setting.items() if members],
        gallery.of_task(rows),
        [_Detail(row.group, _anchor(row.group), origin_of(row.group), gallery.of_group(row.group)) for row in rows],
    )


def _anchor(group: Group) -> str:
    return f"{slug(group.task.identity)}-{slug(group.method.name)}-{group.key[:8]}"


def _rows(standings: Sequence[Standing], metrics: Sequence[str]) -> list[_Row]:
    best = standings[0]
    return [_row(row, best, metrics) for row in standings]


def _row(row: Standing, best: Standing, metrics: Sequence[str]) -> _Row:
    lead, resolved = ("first", None) if row is best else _lead(row.group, best.group)
    return _Row(
        row.group,
        _anchor(row.group),
        [_cell(row, metric) for metric in metrics],
        lead,
        resolved,
        tables.percent_value(row.oracle),
    )


def _lead(group: Group, best: Group) -> tuple[str, bool | None]:
    comparison = tables.compare(group, best)
    if comparison is None:
        return "not paired", None
    paired = comparison.paired
    points = tables.signed_percent(paired.difference, paired.low, paired.high)
    return f"{points}, {tables.p_text(paired.p_value)}", comparison.resolved


def _cell(row: Standing, metric: str) -> _Cell:
    main = metric == row.group.task.main_metric
    figure = row.figures.get(metric)
    if figure is None or math.isnan(figure.value):
        return _Cell("", "–", "", main)
    percent, _, bounds = tables.percent(figure).partition(" ")
    return _Cell(f"{figure.value:.6f}", percent, bounds, main)
