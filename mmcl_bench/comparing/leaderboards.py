"""Two leaderboards side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmcl_bench.comparing.records import LEVEL, Comparison, Leaderboard, Side, UnpairedComparison
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted
from mmcl_bench.evaluation.statistics import Interval, unpaired_difference
from mmcl_bench.results.groups import INDUCTIVE, unversioned

_KEY = ("task", "incomplete", "method", "setting", "preset", "settings")
"""Columns of a leaderboard that say what a row is of, the task without its version."""


def _as_leaderboard(side: Side, name: str) -> Leaderboard:
    """Figures with intervals; of jobs as their own leaderboard would have them."""
    if isinstance(side, Leaderboard):
        return side
    from mmcl_bench.report.tables import frame_of, leaderboard_rows

    jobs = [job for entry in side for job in entry.jobs]
    if not jobs:
        raise UserError(
            f"{name}: scores of a file do not compare with a leaderboard; keep them with score --store first"
        )
    return Leaderboard(name, frame_of(leaderboard_rows(jobs)))


def _compare_leaderboards(a: Leaderboard, b: Leaderboard, metric: str | None) -> Comparison:
    ours, theirs = _rows_by_key(a), _rows_by_key(b)
    shared = [key for key in ours if key in theirs]
    if not shared:
        raise UserError(f"{a.where} and {b.where} share no row of one task, method and settings")
    rows, undefined = [], 0
    for key in shared:
        _require_alike(ours[key], theirs[key], a.where, b.where)
        headline = metric or str(ours[key]["main_metric"])
        pair = [_interval(row, headline) for row in (ours[key], theirs[key])]
        if pair[0] is None or pair[1] is None:
            if metric is None and not (headline in ours[key] and headline in theirs[key]):
                raise UserError(f"{key[0]}: {a.where} or {b.where} has no column {headline}; report both again")
            undefined += metric is None
            continue
        version = int(ours[key]["version"])
        told = _row_description(ours[key])
        rows.append(
            UnpairedComparison(key[0], version, told, headline, pair[0], pair[1], unpaired_difference(pair[0], pair[1]))
        )
    if not rows:
        which = "their main metrics" if metric is None else f"--metric {metric}"
        raise UserError(f"{which}: no row of both leaderboards has a figure with an interval")
    notes = [
        f"left out: {counted(n_alone, 'row')} that only {board.where} has"
        for board, own, other in ((a, ours, theirs), (b, theirs, ours))
        if (n_alone := len(own.keys() - other.keys()))
    ]
    notes += [f"left out: {counted(undefined, 'row')} without a figure or its interval"] if undefined else []
    return Comparison(unpaired=tuple(rows), notes=tuple(notes))


def _rows_by_key(board: Leaderboard) -> dict[tuple[str, ...], dict[str, Any]]:
    """The rows by what they are of, of several versions of a method the latest."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in board.frame.to_dict("records"):
        row["task"] = unversioned(str(row["task"]))
        key = tuple(_cell(row.get(name)) for name in _KEY)
        former = rows.get(key)
        if former is not None and former.get("method_version") == row.get("method_version"):
            raise UserError(
                f"{board.where}: {row['task']}, {_row_description(row)} is there twice; leave out one row, or "
                "the task by --task"
            )
        if former is None or former.get("method_version", 0) < row.get("method_version", 0):
            rows[key] = row
    return rows


def _require_alike(a: Mapping[str, Any], b: Mapping[str, Any], a_where: str, b_where: str) -> None:
    for name, what in (("version", "version"), ("task_hash", "hash"), ("data", "data")):
        if _cell(a.get(name)) != _cell(b.get(name)) and name in a and name in b:
            raise UserError(
                f"{a['task']}: {what} {_cell(a[name])} in {a_where} and {_cell(b[name])} in {b_where}; such figures do "
                "not compare, so run the older ones again or leave the task out with --task"
            )


def _interval(row: Mapping[str, Any], metric: str) -> Interval | None:
    bounds = [row.get(name) for name in (metric, f"{metric}_low", f"{metric}_high")]
    if any(bound is None or math.isnan(float(bound)) for bound in bounds):
        return None
    value, low, high = map(float, bounds)  # type: ignore[arg-type]
    return Interval(value, low, high, int(row.get("n_test", 0)), LEVEL)


def _row_description(row: Mapping[str, Any]) -> str:
    beside = [_cell(row.get("preset")), _cell(row.get("settings"))]
    beside += [f"on {incomplete}"] if (incomplete := _cell(row.get("incomplete"))) else []
    beside += [setting] if (setting := _cell(row.get("setting"))) not in ("", INDUCTIVE) else []
    return f"{row['method']} ({', '.join(part for part in beside if part)})"


def _cell(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
