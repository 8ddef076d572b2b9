"""Methods ranked over the tasks that they share."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mmcl_bench.evaluation.ranks import Ranks, ranks
from mmcl_bench.report.drawing import VALUES
from mmcl_bench.report.encoders import without_encoder
from mmcl_bench.report.tables import LeaderboardRow
from mmcl_bench.results.groups import SETTINGS

FEWEST_TASKS = 3
CHANCE = "chance"
"""The method that guesses: where it would stand in a ranking says nothing."""


@dataclass(frozen=True)
class Ranking:
    """The ranks of methods over tasks, and what they leave out."""

    ranks: Ranks
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    """Methods that ran on too few of the tasks."""


def rankings(rows: Sequence[LeaderboardRow]) -> dict[tuple[str, str], Ranking]:
    """The ranks within each setting and, in transfer, each kind of candidate classes, of a family's rows on whole data.

    By setting and kind of classes, which is empty in other families. In the order of :data:`.groups.SETTINGS`.
    """
    together: dict[tuple[str, str], list[LeaderboardRow]] = defaultdict(list)
    for row in of_last_wording(one_copy(one_encoder(rows))):
        if not row.group.incomplete:
            together[row.group.setting, row.group.task.parameters.get("classes", "")].append(row)
    keys = sorted(together, key=lambda key: (SETTINGS.index(key[0]), key[1]))
    found = ((key, rank_methods(together[key])) for key in keys)
    return {key: ranking for key, ranking in found if ranking is not None}


def one_encoder(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    """The rows with each task under one text encoder alone, so that it does not count twice: the one that its identity
    does not name, which is the default, else that of most rows."""
    under: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        under[without_encoder(row.group)][row.group.task.identity] += 1
    # A task's identity without an encoder is that of the default.
    kept = {task: task if task in found else found.most_common(1)[0][0] for task, found in under.items()}
    return [row for row in rows if kept[without_encoder(row.group)] == row.group.task.identity]


def one_copy(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    """The rows with each task on whole data of one content and with class texts of one wording alone, so that it does
    not count twice: those of most rows. Texts that a method alone reads are another matter."""
    under: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if not row.group.incomplete:
            under[row.group.task.identity][row.group.task_key] += 1
    kept = {task: found.most_common(1)[0][0] for task, found in under.items()}
    return [row for row in rows if kept.get(row.group.task.identity) == row.group.task_key]


def of_last_wording(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    """The rows with each method under one wording of the texts of its slots alone, so that it does not count twice on a
    task: that which was run last."""
    kept: dict[tuple[str, str, str], LeaderboardRow] = {}
    for row in sorted(rows, key=lambda row: row.group.started):
        kept[row.group.task_key, row.group.label, settings_of(row)] = row
    left = {row.group.key for row in kept.values()}
    return [row for row in rows if row.group.key in left]


def settings_of(row: LeaderboardRow) -> str:
    """All that the preset and the settings of a row's method mean, as text."""
    return json.dumps(row.group.method.settings, sort_keys=True)


def told_apart(rows: Sequence[LeaderboardRow]) -> dict[str, str]:
    """A name of its own for each method with its preset and settings, by key of the row's group: its label, and a
    number where what a preset means has changed between results of one label."""
    of_label: dict[str, list[str]] = {}
    made = {row.group.key: settings_of(row) for row in rows}
    for row in rows:
        known = of_label.setdefault(row.group.label, [])
        known += [made[row.group.key]] if made[row.group.key] not in known else []
    found = {}
    for row in rows:
        label, known = row.group.label, of_label[row.group.label]
        number = known.index(made[row.group.key]) + 1
        found[row.group.key] = label if len(known) == 1 else f"{label}{VALUES}{number} of {len(known)}"
    return found


def rank_methods(rows: Sequence[LeaderboardRow]) -> Ranking | None:
    """Ranks by the main metric over tasks of one family, origin and setting; None for fewer than two methods or three
    tasks that all of them share. Chance is not ranked.

    A method with its preset and settings counts as one. Those that ran on no more than half of the tasks of the one
    that ran on most are left out, so that a trial on one task does not empty the table.
    """
    rows = [row for row in rows if row.group.method.name != CHANCE]
    names_of = told_apart(rows)
    known = [row for row in rows if not math.isnan(row.main.value)]
    figures = {(row.group.task_key, names_of[row.group.key]): row.main.value for row in known}
    table = pd.Series(figures, dtype=float).unstack() if figures else pd.DataFrame()
    kept = on_shared_tasks(table)
    if kept.shape[0] < FEWEST_TASKS or kept.shape[1] < 2:
        return None
    names = {row.group.task_key: row.group.task.identity for row in rows}
    return Ranking(
        ranks(kept),
        tuple(sorted(names[key] for key in kept.index)),
        tuple(sorted(set(table.columns) - set(kept.columns))),
    )


def on_shared_tasks(table: pd.DataFrame) -> pd.DataFrame:
    """The columns (methods) that have more than half of the figures of the fullest one, on the rows (tasks) that all of
    these have."""
    n_tasks = table.notna().sum()
    return table.loc[:, n_tasks > n_tasks.max() / 2].dropna() if len(table) else table
