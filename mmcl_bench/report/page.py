"""The report: one self-contained HTML page with its tables and figures beside it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from markupsafe import Markup

from mmcl_bench.core.files import write_text
from mmcl_bench.core.grants import RGB_AT_TEST, Setting
from mmcl_bench.core.pages import templates_in
from mmcl_bench.core.text import counted, slug
from mmcl_bench.report import figures, overview, tables
from mmcl_bench.report.choices import Choices, choices, numbers_of
from mmcl_bench.report.choices import frame_of as frame_of_choices
from mmcl_bench.report.drawing import DARK, LIGHT, Draw, look
from mmcl_bench.report.encoders import EncoderTable, encoder_tables
from mmcl_bench.report.encoders import frame_of as frame_of_encoders
from mmcl_bench.report.encoders import heat_maps as encoder_heat_maps
from mmcl_bench.report.figures import ScoredMethod
from mmcl_bench.report.gallery import (
    MOST_GROUPS,
    Gallery,
    GroupFigure,
    Picture,
    Which,
    group_figures,
    scored_method,
    where_of,
)
from mmcl_bench.report.lineage import origin_of
from mmcl_bench.report.methods_by_task import (
    MethodsByTask,
    mean_cost,
    methods_by_task,
    shown_metrics,
)
from mmcl_bench.report.methods_by_task import frame_of as table_of_methods
from mmcl_bench.report.published import Beside, beside, read_published
from mmcl_bench.report.ranking import CHANCE, Ranking, rankings
from mmcl_bench.report.split_means import (
    DATA,
    SplitMean,
    bounds_text,
    frame_of,
    frame_of_folds,
    leads,
    numbers_of_folds,
    pooled_keys,
    split_means,
    standings,
)
from mmcl_bench.report.table_files import TableFolder
from mmcl_bench.report.tables import Comparison, LeaderboardRow, PlacedRow
from mmcl_bench.report.transfer import TransferTable, gains, mean_gain_text, transfer_tables
from mmcl_bench.report.transfer import frame_of as frame_of_transfer
from mmcl_bench.report.transfer import heat_maps as transfer_heat_maps
from mmcl_bench.results.groups import (
    INDUCTIVE,
    UNSEEN_TEXTS,
    Group,
    metric_names,
    metric_title,
    newest,
    unlimited,
)
from mmcl_bench.results.store import whole_and_damaged

_Table = TypeVar("_Table")
PAGE, FIGURES, TABLES = "index.html", "figures", "tables"
_SETTINGS = {
    INDUCTIVE: "",
    UNSEEN_TEXTS: "unseen texts: reads texts of unseen classes in training",
    Setting.UNLABELLED: "unlabelled: may read unlabelled clips of the target's training side",
    Setting.SOURCE_FREE: "source-free: may read unlabelled clips of the target's training side, after training",
    Setting.TRANSDUCTIVE: "transductive: may read unlabelled test clips",
    Setting.FEW_SHOT: "few-shot: may read some labelled clips of the target's training side",
    RGB_AT_TEST: "RGB at test: scores with images beside the skeleton",
}
"""What heads the rows of a setting."""


@dataclass(frozen=True)
class ReportSummary:
    """What a report wrote, and of what."""

    page: Path
    leaderboards: list[Path]
    tables: list[Path]
    figures: list[Path]
    n_page_figures: int
    """Figures on the page, whether or not they are files as well."""
    n_jobs: int
    """Jobs in the tables."""
    n_limited: int
    """Smoke runs, which are left out."""
    n_older: int
    """Jobs of older versions of their task or method, which are left out."""
    damaged: list[Path]
    """Folders of results that cannot be trusted, and are left out."""


def build_report(
    results_root: Path,
    reports_root: Path,
    which: Which = "auto",
    advance: Callable[[int, int], None] = lambda done, total: None,
    columns: Sequence[str] = (),
) -> ReportSummary:
    """Writes ``index.html``, the tables and the figures; the same results give the same bytes.

    ``which`` figures are files as well: see :data:`.gallery.Which`. ``advance`` is told how many figures are drawn.
    ``columns``, where there are any, are those of the LaTeX tables: see :class:`.table_files.TableFolder`.

    Raises :class:`~mmcl_bench.core.errors.UserError` when there is no result, or a column is in no table.
    """
    stored, damaged = whole_and_damaged(results_root)
    whole = unlimited(stored)
    ranked = newest(whole)
    rows = tables.leaderboard_rows(ranked)
    looks = {label: look(at) for at, label in enumerate(sorted({row.group.label for row in rows}))}
    if which == "auto":
        which = "all" if len(rows) <= MOST_GROUPS else "tasks"
    builder = _Builder(Gallery(reports_root / FIGURES, which, looks), TableFolder(reports_root / TABLES, columns))
    origins = [builder.families(synthetic, rows) for synthetic in (False, True)]
    builder.table_folder.close()
    leaderboards = tables.write_frame(tables.frame_of(rows), reports_root)
    leaderboards += tables.write_frame(numbers_of_folds(builder.folds), reports_root, tables.OF_CLASS_FOLDS)
    builder.gallery.draw(advance)
    of_folds = pooled_keys(row.group for row in rows)
    alone = [row for row in rows if row.group.key not in of_folds]
    news, shown = overview.news(reports_root, alone)
    html = _render(
        origins=[families for families in origins if families],
        leaderboards=[path.name for path in leaderboards],
        news=news,
        n_jobs=len(ranked),
        n_limited=len(stored) - len(whole),
        n_older=len(whole) - len(ranked),
        n_damaged=len(damaged),
        n_rows=len(alone),
        methods=sorted({row.group.method.name for row in rows}),
        presets=sorted({row.group.method.preset for row in rows}),
        figure_files=which,
    )
    page = reports_root / PAGE
    write_text(page, html)
    overview.keep(reports_root, shown)
    return ReportSummary(
        page,
        leaderboards,
        builder.table_folder.written,
        builder.gallery.files,
        len(builder.gallery.pictures),
        len(ranked),
        len(stored) - len(whole),
        len(whole) - len(ranked),
        damaged,
    )


@dataclass(frozen=True)
class _Row:
    shown: LeaderboardRow
    lead: str
    """How far it is ahead of the first row of its table, or why that is not given."""
    standing: str
    comparison: Comparison | None
    """With the first row; None where nothing is compared."""


@dataclass(frozen=True)
class _Task:
    group: Group
    """Any group of the task, for its record."""
    anchor: str
    blocks: list[tuple[str, list[_Row]]]
    """The rows by setting, one after the other: only rows of one setting are ranked together."""
    ranges: dict[str, tuple[float, float]]
    """By metric, the ends that its intervals are drawn between; nan where none is known."""
    pictures: list[Picture]
    beside: Beside | None
    beside_files: list[str]
    details: list[tuple[Group, list[Picture]]]


@dataclass(frozen=True)
class _Part(Generic[_Table]):
    """What follows the leaderboard of a family."""

    table: _Table
    files: list[str]
    pictures: list[Picture] = field(default_factory=list)
    among: str = ""
    """What is ranked together: ``inductive methods``."""


@dataclass(frozen=True)
class _Family:
    name: str
    synthetic: bool
    anchor: str
    metrics: list[str]
    costs: dict[str, str]
    """Titles by name of the costs that any row has."""
    tasks: list[_Task]
    files: list[str]
    ranked: list[_Part[Ranking]]
    means: _Part[list[SplitMean]] | None
    folds: _Part[list[tuple[SplitMean, str]]] | None
    """Figures over class folds, each with how far it is ahead of the first of its task and setting."""
    encoders: _Part[list[EncoderTable]] | None
    transfer: _Part[list[tuple[TransferTable, list[Picture]]]] | None
    """Each table with a figure a setting."""
    by_task: _Part[MethodsByTask] | None
    choices: _Part[Choices] | None
    """What label-free scores choose, where jobs kept them."""
    overview: list[Picture]
    """Methods by task, and accuracy against time."""

    @property
    def contents(self) -> str:
        """``2 tasks, class folds of 1 task``"""
        of_folds = len({mean.task for mean, _ in self.folds.table}) if self.folds else 0
        alone = [counted(len(self.tasks), "task")] if self.tasks else []
        return ", ".join([*alone, *([f"class folds of {counted(of_folds, 'task')}"] if of_folds else [])])

    @property
    def width(self) -> int:
        """Columns of the leaderboard."""
        return len(self.metrics) + 4 + len(self.costs)


class _Builder:
    """Makes what the page shows, and writes its tables on the way."""

    def __init__(self, gallery: Gallery, table_folder: TableFolder) -> None:
        self.gallery = gallery
        self.table_folder = table_folder
        self.folds: list[SplitMean] = []
        self._published = read_published()

    def families(self, synthetic: bool, rows: Sequence[LeaderboardRow]) -> list[_Family]:
        own = [row for row in rows if row.group.task.synthetic == synthetic]
        families = groupby(own, key=lambda row: row.group.task.family)
        return [self._family(name, list(members), synthetic) for name, members in families]

    def _family(self, name: str, members: Sequence[LeaderboardRow], synthetic: bool) -> _Family:
        means, of_folds = split_means(members), pooled_keys(row.group for row in members)
        rows = [row for row in members if row.group.key not in of_folds]
        stem = slug(name) + ("-synthetic" if synthetic else "")
        title = f"{name}, {'synthetic' if synthetic else 'real'} data"
        metrics = metric_names(row.group for row in members)
        known = {name for row in rows for name in tables.costs_of(row.group)}
        costs = {name: title for name, title in tables.COSTS.items() if name in known}
        of_tasks = groupby(rows, key=lambda row: row.group.task_key)
        tasks = [self._task(list(members)) for _, members in of_tasks]
        shown = _shown_leaderboard(tasks, metrics, costs)
        numbers = tables.own_metrics(tables.frame_of(rows))
        titles = list(map(metric_title, metrics))
        folds = [mean for mean in means if mean.of_class_folds]
        self.folds += folds
        # Trials on parts of a training side have their own tables, and are in no mean or rank over tasks.
        columns = [*(row for row in rows if row.group.task.on_test_side), *(mean.as_row for mean in folds)]
        by_task = self._by_task(stem, title, columns)
        return _Family(
            name,
            synthetic,
            stem,
            metrics,
            costs,
            tasks,
            self.table_folder.add(
                stem,
                shown,
                numbers,
                f"{title}: percent with 95% intervals",
                figures=titles,
                within=["Task", "Setting"],
                apart=[task.group.task_key for task in tasks for _, placed in task.blocks for _ in placed],
                paper=["Task", DATA, "Setting", "Method", "Settings", "Preset", *titles],
                unmarked=shown["Method"].eq(CHANCE).tolist(),
            )
            if rows
            else [],
            self._ranked(stem, title, columns),
            self._means(stem, title, [mean for mean in means if not mean.of_class_folds], titles),
            self._folds(stem, title, folds, titles),
            self._encoders(stem, title, rows),
            self._transfer(stem, title, rows),
            by_task,
            self._choices(stem, title, rows),
            self._overview(stem, title, tasks, by_task, columns, standings(folds)),
        )

    def _folds(
        self, stem: str, title: str, means: Sequence[SplitMean], metrics: Sequence[str]
    ) -> _Part[list[tuple[SplitMean, str]]] | None:
        if not means:
            return None
        files = self.table_folder.add(
            f"{stem}-class-folds",
            frame_of_folds(means),
            title=f"{title}: pooled over class folds, percent with 95% intervals",
            figures=metrics,
            within=["Task", "Setting"],
            apart=[mean.splits_key for mean in means],
            paper=["Task", DATA, "Setting", "Method", "Settings", "Preset", "Folds", *metrics],
            unmarked=[mean.group.method.name == CHANCE for mean in means],
        )
        on_the_same: dict[str, list[SplitMean]] = {}
        for mean in means:
            on_the_same.setdefault(mean.splits_key, []).append(mean)
        pictures = [self.gallery.of_class_folds(members) for members in on_the_same.values()]
        return _Part(list(zip(means, leads(means), strict=True)), files, pictures)

    def _means(
        self, stem: str, title: str, means: list[SplitMean], metrics: Sequence[str]
    ) -> _Part[list[SplitMean]] | None:
        if not means:
            return None
        files = self.table_folder.add(
            f"{stem}-split-means",
            frame_of(means),
            title=f"{title}: means over splits",
            figures=metrics,
            within=["Task", "Setting"],
            apart=[mean.splits_key for mean in means],
            paper=["Task", DATA, "Splits", "Setting", "Method", "Settings", "Preset", *metrics],
            unmarked=[mean.group.method.name == CHANCE for mean in means],
        )
        return _Part(means, files)

    def _overview(
        self,
        stem: str,
        title: str,
        tasks: Sequence[_Task],
        by_task: _Part[MethodsByTask] | None,
        rows: Sequence[LeaderboardRow],
        of_folds: Mapping[str, str],
    ) -> list[Picture]:
        drawn = []
        if by_task:
            standing = dict(of_folds) | {
                row.shown.group.key: row.standing
                for task in tasks
                for _, of_setting in task.blocks
                for row in of_setting
            }
            draw = overview.heat_map(by_task.table, standing)
            drawn.append(self.gallery.add(f"{stem}-overview", f"Methods by task\n{title}", draw))
        if known := overview.costs(rows):
            draw = known.drawn(self.gallery.looks)
            drawn.append(self.gallery.add(f"{stem}-accuracy-against-time", f"Accuracy against time\n{title}", draw))
        return drawn

    def _encoders(self, stem: str, title: str, rows: Sequence[LeaderboardRow]) -> _Part[list[EncoderTable]] | None:
        found = encoder_tables(rows)
        if not found:
            return None
        name = f"{stem}-encoders"
        pictures = [
            self.gallery.add(
                f"{name}-{table.group.task_key[:8]}",
                f"Methods by text encoder: {where_of(table.group, table.task)}",
                encoder_heat_maps(table),
            )
            for table in found
        ]
        files = self.table_folder.add(name, frame_of_encoders(found), title=f"{title}: methods by text encoder")
        return _Part(found, files, pictures)

    def _by_task(self, stem: str, title: str, rows: Sequence[LeaderboardRow]) -> _Part[MethodsByTask] | None:
        table = methods_by_task(rows)
        if table is None:
            return None
        frame = table_of_methods(table)
        on_tasks = [head for head in frame.columns if ": " in head]
        files = self.table_folder.add(
            f"{stem}-methods-by-task",
            frame,
            title=f"{title}: methods by task",
            figures=on_tasks,
            within=["Setting"],
            paper=["Method", *on_tasks],
            unmarked=[method.group.method.name == CHANCE for method in table.methods],
        )
        drawn, pictures = table.with_oracle, []
        if len(drawn) > 1:
            caption = f"What choosing the step on the test set would have given\n{title}"
            draw = partial(figures.intervals, ["oracle minus honest, points"], drawn, self.gallery.looks, None)
            pictures = [self.gallery.add(f"{stem}-oracle-minus-honest", caption, draw)]
        return _Part(table, files, pictures)

    def _transfer(
        self, stem: str, title: str, rows: Sequence[LeaderboardRow]
    ) -> _Part[list[tuple[TransferTable, list[Picture]]]] | None:
        found = transfer_tables(rows)
        if not found:
            return None
        name = f"{stem}-sources-by-targets"
        drawn = [(table, self._transfer_pictures(name, table, title)) for table in found]
        caption = f"{title}: figures and gains over source only, percent with 95% intervals"
        frame = frame_of_transfer(found)
        # Source and target name the task where tasks differ in nothing else.
        paper = [head for head in frame if head not in ("Task", "Gain over")] if len(found) == 1 else []
        return _Part(drawn, self.table_folder.add(name, frame, title=caption, paper=paper))

    def _transfer_pictures(self, name: str, table: TransferTable, title: str) -> list[Picture]:
        drawn = []
        for setting, methods in table.settings.items():
            if table.is_grid:
                caption = f"{metric_title(methods[0].group.task.main_metric)} by source and target, {setting}"
                draw: Draw | None = transfer_heat_maps(table, setting)
            else:
                caption = f"Gain over source only in points, {setting}"
                draw = gains(table, setting, self.gallery.looks)
            if draw:
                # Names of files are cut, and kinds that name a file are long.
                digest = hashlib.sha256(table.kind.encode()).hexdigest()[:8]
                stem = slug(f"{name} {table.kind if len(table.kind) < 30 else digest} {setting}")
                drawn.append(self.gallery.add(stem, f"{caption}: {table.kind}\n{title}", draw))
        return drawn

    def _ranked(self, stem: str, title: str, rows: Sequence[LeaderboardRow]) -> list[_Part[Ranking]]:
        return [self._ranks(stem, title, *key, ranking) for key, ranking in rankings(rows).items()]

    def _ranks(self, stem: str, title: str, setting: str, classes: str, ranking: Ranking) -> _Part[Ranking]:
        found = ranking.ranks
        among = f"{setting} methods" + (", classes known by texts" if classes == "texts" else "")
        beside = [*([setting] if setting != INDUCTIVE else []), *([classes] if classes == "texts" else [])]
        name = slug("-".join([stem, "ranks", *beside]))
        draw = partial(figures.critical_difference, found, self.gallery.looks)
        picture = self.gallery.add(name, f"Mean ranks over tasks\n{title}, {among}", draw)
        means = [f"{mean:.2f}" for mean in found.average]
        shown = pd.DataFrame({"Method": list(found.methods), "Mean rank": means})
        caption = f"{title}: mean ranks of {among} over {found.n_tasks} tasks"
        return _Part(ranking, self.table_folder.add(name, shown, title=caption), [picture], among)

    def _task(self, rows: Sequence[LeaderboardRow]) -> _Task:
        group = rows[0].group
        anchor = f"{slug(group.task.identity)}-{group.task_key[:8]}"
        placed: dict[str, list[PlacedRow]] = {}
        curves: dict[str, ScoredMethod | None] = {}
        drawn: dict[str, list[GroupFigure]] = {}
        for setting, members in tables.by_setting(rows).items():
            with members[0].group.runs_in_memory():
                for row in members:
                    with row.group.runs_in_memory():
                        placed.setdefault(setting, []).append(tables.place_beside(members[0], row))
                        curves[row.group.key] = scored_method(row)
                        drawn[row.group.key] = list(group_figures(row.group))
        scored = [curve for row in rows if (curve := curves[row.group.key])]
        found = beside(self._published, rows)
        return _Task(
            group,
            anchor,
            [(setting, [_row(each) for each in members]) for setting, members in placed.items()],
            _ranges(rows),
            self.gallery.of_task(rows, scored),
            found,
            [] if found is None else self._published_table(anchor, group, found),
            [(row.group, self.gallery.of_group(row.group, drawn[row.group.key])) for row in rows],
        )

    def _published_table(self, anchor: str, group: Group, found: Beside) -> list[str]:
        heads = ["Method", *map(metric_title, found.metrics), "Published", "Text encoder"]
        heads += ["Unseen texts in training", "Transductive", "Selected on", "How", "Calibrated on", "Note", "Source"]
        cells = [
            [
                *(row.method, *row.figures, row.year, row.text_encoder, row.unseen_texts),
                *(row.transductive, row.selection, row.how_selected, row.calibration, row.note, row.source),
            ]
            for row in (*found.ours, *found.published)
        ]
        caption = f"{group.task.identity}: ours, then published figures by year; not ranked"
        return self.table_folder.add(f"{anchor}-published", pd.DataFrame(cells, columns=heads), title=caption)

    def _choices(self, stem: str, title: str, rows: Sequence[LeaderboardRow]) -> _Part[Choices] | None:
        table = choices(rows)
        if table is None:
            return None
        caption = f"{title}: choosing without target labels, means ({table.counts})"
        files = self.table_folder.add(f"{stem}-choices", frame_of_choices(table), numbers_of(table), caption)
        return _Part(table, files)


def _render(**content: Any) -> str:
    environment = templates_in("mmcl_bench.report")
    environment.globals |= {
        "anchor_of": _anchor,
        "bar": _bar,
        "bounds_text": bounds_text,
        "cost_text": tables.cost_text,
        "costs_of": tables.costs_of,
        "mean_cost": mean_cost,
        "mean_gain_text": mean_gain_text,
        "metric_title": metric_title,
        "origin_of": origin_of,
        "percent": tables.percent,
        "percent_value": tables.percent_value,
        "settings": _SETTINGS,
        "shown_metrics": shown_metrics,
    }
    # Ours alone; the policy of the page names their hashes, and the browser runs nothing else.
    style = environment.get_template("page.css").render(light=LIGHT, dark=DARK)
    script = environment.get_template("page.js").render()
    return environment.get_template("page.html.j2").render(
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style_hash=_policy_hash(style),
        script_hash=_policy_hash(script),
        **content,
    )


def _policy_hash(text: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(f"'sha256-{digest}'")  # noqa: S704 - letters, digits, +, / and =


def _anchor(group: Group) -> str:
    return f"{slug(group.task.identity)}-{slug(group.method.name)}-{group.key[:8]}"


def _row(placed: PlacedRow) -> _Row:
    comparison = placed.comparison
    if comparison is None:
        lead = "first" if placed.is_best else "not paired"
    else:
        paired = comparison.paired
        difference = tables.signed_percent(paired.difference, paired.low, paired.high)
        lead = ", ".join(filter(None, [difference, tables.p_text(paired.p_value), comparison.alone]))
    return _Row(placed.row, lead, placed.standing, comparison)


def _ranges(rows: Sequence[LeaderboardRow]) -> dict[str, tuple[float, float]]:
    bounds = [(name, end) for row in rows for name, each in row.figures.items() for end in (each.low, each.high)]
    ends = pd.DataFrame(bounds, columns=["metric", "end"]).groupby("metric")["end"].agg(["min", "max"])
    return {str(name): (float(low), float(high)) for name, low, high in ends.itertuples()}


def _bar(value: float, low: float, high: float, ends: tuple[float, float]) -> Markup:
    """An interval as a line with its figure as a dot, between two ends; empty where it is not known."""
    first, last = ends
    if math.isnan(value + low + high) or not first < last:
        return Markup()
    left, middle, right = (2 + 56 * (x - first) / (last - first) for x in (low, value, high))
    path = f"M{left:.1f} 3H{right:.1f}M{middle:.1f} 1V5"
    return Markup('<svg class="bar" viewBox="0 0 60 6" aria-hidden="true"><path d="{}"/></svg>').format(path)


def _shown_leaderboard(tasks: Sequence[_Task], metrics: Sequence[str], costs: Mapping[str, str]) -> pd.DataFrame:
    """A leaderboard's texts, as the page shows them."""
    partly = {DATA: "incomplete"} if any(task.group.incomplete for task in tasks) else {}
    heads = [
        "Task",
        *partly,
        "Setting",
        "Method",
        "Settings",
        "Preset",
        "Seeds",
        *map(metric_title, metrics),
        *costs.values(),
    ]
    heads += ["Against the first", "Oracle, not ranked", "Oracle minus honest", "Flags"]
    with_notes = any(row.shown.group.remarks for task in tasks for _, rows in task.blocks for row in rows)
    heads += ["Notes"] * with_notes
    cells = [
        [
            task.group.task.identity,
            *(getattr(task.group, name) for name in partly.values()),
            setting,
            row.shown.group.method.name,
            row.shown.group.settings,
            row.shown.group.method.preset,
            len(row.shown.group.seeds),
            *(tables.percent(row.shown.figures.get(metric)) for metric in metrics),
            *(tables.cost_text(name, tables.costs_of(row.shown.group).get(name)) for name in costs),
            row.lead,
            tables.percent_value(row.shown.oracle),
            tables.percent_value(row.shown.oracle_minus_honest),
            row.shown.group.flags,
            *([". ".join(row.shown.group.remarks)] * with_notes),
        ]
        for task in tasks
        for setting, rows in task.blocks
        for row in rows
    ]
    return pd.DataFrame(cells, columns=heads)
