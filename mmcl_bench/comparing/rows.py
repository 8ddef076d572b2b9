"""Differences as rows of a csv and as JSON, for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcl_bench.comparing.records import Comparison, FoldsComparison, TaskComparison, notes_of_each
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.core.text import as_utf8


def csv_rows(found: Mapping[str, Comparison], a: str, command: str) -> list[dict[str, Any]]:
    """The differences of a and each other, by its name, then those in the mean over splits; and what made them."""
    return [
        {**row, "a_name": a, "b_name": name, "command": command}
        for name, each in found.items()
        for row in (*_difference_rows(each), *({**row, "splits": len(row["splits"])} for row in _split_rows(each)))
    ]


def rows_of_other_commands(path: Path, command: str) -> list[dict[str, str]]:
    """What a csv of differences has already, but for what this command made. Raises :class:`UserError` for a file that
    is none."""
    if not path.exists():
        return []
    try:
        reader = csv.DictReader(io.StringIO(as_utf8(path.read_bytes()).decode(), newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as csv, {error}; choose another --output") from None
    broken = any(None in row or None in row.values() for row in rows)
    if broken or not {"task", "difference", "command"} <= set(reader.fieldnames or ()):
        raise UserError(f"{path}: is no csv of differences, so nothing can be added; choose another --output")
    return [row for row in rows if row["command"] != command]


def change_rows(tasks: Iterable[TaskComparison]) -> list[dict[str, Any]]:
    """The samples on which the two sides say different things."""
    return [
        {
            "task": task.task.identity,
            "seed": change.seed,
            "sample_id": change.sample_id,
            "class": change.true,
            "a_says": change.a,
            "b_says": change.b,
            "outcome": change.outcome,
        }
        for task in tasks
        for change in task.changes
    ]


def record_of(found: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    """All of a comparison as plain JSON values."""
    rows = _difference_rows(found)
    if found.unpaired:
        return {"a": names[0], "b": names[1], "paired": False, "differences": rows, "notes": list(found.notes)}
    return {
        "a": names[0],
        "b": names[1],
        "paired": True,
        "differences": rows,
        "classes": [
            {
                "task": task.task.identity,
                "class": row.name,
                "seen": row.seen,
                "clips": row.n,
                "a": row.a,
                "b": row.b,
                "won": row.won,
                "lost": row.lost,
            }
            for task in found.tasks
            for row in task.classes
        ],
        "samples": change_rows(found.tasks),
        "splits": _split_rows(found),
        "folds": {of_folds.task: list(of_folds.folds) for of_folds in found.folds},
        "notes": [*found.notes, *notes_of_each(found)],
    }


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """With the columns of all rows, in the order in which they come."""

    def write(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as file:
            heads = list(dict.fromkeys(head for row in rows for head in row)) or ["task"]
            writer = csv.DictWriter(file, heads, lineterminator="\n")
            writer.writeheader()
            writer.writerows({head: _cell(value) for head, value in row.items()} for row in rows)

    write_atomically(path, write)


def _difference_rows(found: Comparison) -> list[dict[str, Any]]:
    paired = [
        {
            "task": task.task.identity,
            "metric": each.metric,
            "headline": each.metric == task.headline,
            "a_method": task.a.label,
            "b_method": task.b.label,
            "a": _number(each.a),
            "b": _number(each.b),
            "difference": _number(each.paired.difference),
            "low": _number(each.paired.low),
            "high": _number(each.paired.high),
            "p": _number(each.paired.p_value),
            "p_holm": _number(each.p_holm),
            "mcnemar_p": _number(each.mcnemar_p),
            "mcnemar_holm": _number(each.mcnemar_holm),
            "won": sum(test.won for test in each.mcnemar) if each.mcnemar else None,
            "lost": sum(test.lost for test in each.mcnemar) if each.mcnemar else None,
            "runs": each.paired.n_runs,
            "clips": task.n_samples,
        }
        for task in found.tasks
        for each in task.metrics
    ]
    unpaired = [
        {
            "task": f"{row.task}",
            "version": row.version,
            "method": row.method,
            "metric": row.metric,
            "a": row.a.value,
            "a_low": row.a.low,
            "a_high": row.a.high,
            "b": row.b.value,
            "b_low": row.b.low,
            "b_high": row.b.high,
            "difference": row.difference.difference,
            "low": row.difference.low,
            "high": row.difference.high,
            "p": _number(row.difference.p_value),
            "p_holm": _number(row.p_holm),
        }
        for row in found.unpaired
    ]
    return [*paired, *_fold_rows(found.folds)] or unpaired


def _fold_rows(found: Iterable[FoldsComparison]) -> list[dict[str, Any]]:
    return [
        {
            "task": of_folds.task,
            "metric": each.metric,
            "headline": each.metric == of_folds.headline,
            "a_method": of_folds.a,
            "b_method": of_folds.b,
            "a": _number(each.a),
            "b": _number(each.b),
            "difference": _number(each.of_these_classes.difference),
            "low": _number(each.of_these_classes.low),
            "high": _number(each.of_these_classes.high),
            "p": _number(each.of_these_classes.p_value),
            "p_holm": _number(each.p_holm),
            "other_classes_low": _number(each.of_other_classes.low),
            "other_classes_high": _number(each.of_other_classes.high),
            "other_classes_p": _number(each.of_other_classes.p_value),
            "folds": len(of_folds.folds),
        }
        for of_folds in found
        for each in of_folds.metrics
    ]


def _split_rows(found: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "task": mean.task,
            "splits": list(mean.splits),
            "metric": mean.metric,
            "headline": True,
            "a_method": mean.a_label,
            "b_method": mean.b_label,
            "a": _number(mean.a),
            "b": _number(mean.b),
            "difference": _number(mean.paired.difference),
            "low": _number(mean.paired.low),
            "high": _number(mean.paired.high),
            "p": _number(mean.paired.p_value),
            "p_holm": _number(mean.p_holm),
        }
        for mean in found.splits
    ]


def _number(value: float) -> float | None:
    return None if value != value else float(value)


def _cell(value: Any) -> Any:
    """Six digits of a number are more than intervals over random resamples are worth."""
    return f"{value:.6g}" if isinstance(value, float) else value
