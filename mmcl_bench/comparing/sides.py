"""The two sides of a comparison: what a user's words name."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmcl_bench.comparing.records import Entry, Leaderboard, Sheet, Side
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.settings import parse_bracketed, setting_text
from mmcl_bench.core.text import as_utf8, first_line
from mmcl_bench.results.groups import Group, group_jobs, matches, newest
from mmcl_bench.results.store import RESULT, Stored, stored_results

if TYPE_CHECKING:
    import pandas as pd

_HASH = re.compile("[0-9a-f]{4,64}")


_AT_REVISION = re.compile(r"(?P<revision>[^:\s]+):(?P<path>.+\.csv)")


_LONGEST_HEAD = 1 << 16
"""Bytes of the first line of a leaderboard."""
_NEEDED = ("task", "version", "task_hash", "method", "main_metric")


def find_side(text: str, root: Path, task: str, entry_of_scores: Callable[[Path], Entry]) -> Side:
    """What an operand names: a leaderboard's file, or one at a git revision, a file of scores, a job, or a method.

    ``task`` is a glob over tasks. ``entry_of_scores`` judges a file of scores. A method may be narrowed as
    ``mmcl[preset=paper,backbone=hd-gcn]``. Raises :class:`UserError` for what is none of these.
    """
    path = Path(text)
    if (path / RESULT).is_file():
        return [_entry_of_job(path)]
    if path.is_file():
        if path.suffix.lower() == ".csv" and _is_leaderboard(path):
            return filtered(_leaderboard(str(path), path.read_bytes()), task)
        return [entry_of_scores(path)]
    if found := _AT_REVISION.fullmatch(text):
        return filtered(at_revision(found["revision"], Path(found["path"])), task)
    return _side_of_results(text, root, task)


def at_revision(revision: str, path: Path) -> Leaderboard:
    """The leaderboard that a file was at a git revision, the path as seen from the working directory."""
    folder = path.parent if path.parent.is_dir() else Path()
    name = f"./{path.name}" if path.parent.is_dir() else f"./{path.as_posix()}"
    command = ["git", "-C", str(folder), "show", "--end-of-options", f"{revision}:{name}"]
    where = f"{revision}:{path}"
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UserError(f"{where}: git is not installed; check out that revision and give the file") from error
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip().splitlines() or ["git failed"]
        raise UserError(f"{where}: {message[0].removeprefix('fatal: ')}; name a revision that has the file")
    return _leaderboard(where, done.stdout)


def entry_of(group: Group) -> Entry:
    """What a group of stored jobs is to a comparison."""

    first = group.first

    def sheets() -> list[Sheet]:
        # The one run of a deterministic method pairs with every seed.
        seeds = [None] if first.method.deterministic else group.seeds
        return [
            Sheet(seed, job.samples["sample_id"].to_numpy(dtype=str), job.scored())
            for seed, job in zip(seeds, group.jobs, strict=True)
        ]

    return Entry(
        f"{group.label}, version {group.method.version}" if group.method.version > 1 else group.label,
        group.key,
        group.task,
        dict(first.provenance.data_fingerprints),
        first.classes,
        bool(first.notes.get("foreign")),
        sheets,
        group.jobs,
    )


def _entry_of_job(folder: Path) -> Entry:
    stored = Stored.read(folder)
    if stored is None:
        raise UserError(f"{folder}: its result is damaged or of another version; run the job again")
    return entry_of(Group((stored,)))


def _side_of_results(text: str, root: Path, task: str) -> Side:
    stored = list(stored_results(root))
    by_hash = [job for job in stored if _HASH.fullmatch(text) and job.result.job_hash.startswith(text)]
    method, settings = parse_bracketed(text, text)
    known = sorted({job.result.method.name for job in stored})
    if method not in known and by_hash:
        if len(by_hash) > 1:
            raise UserError(f"{len(by_hash)} jobs have a hash that starts with {text}; give more of it")
        return [entry_of(Group((by_hash[0],)))]
    if method not in known:
        raise UserError(
            f"{root / 'jobs'}: {unknown('method with finished jobs', method, known)} "
            "Or give a job's folder or hash, or a file"
        )
    of_method = [
        job
        for job in stored
        if job.result.method.name == method and job.result.limit is None and matches(job.result.task.identity, task)
    ]
    if not of_method:
        raise UserError(f"{root / 'jobs'}: {method} has no finished job of a task that matches --task {task}")
    return _one_a_task(group_jobs(newest(of_method)), text, settings)


def _one_a_task(groups: Sequence[Group], text: str, settings: Mapping[str, str]) -> list[Entry]:
    """The one group of each task and its data that has these settings. Raises :class:`UserError` where several do."""
    by_task: dict[str, list[Group]] = {}
    for group in groups:
        if all(_setting(group, key) == value for key, value in settings.items()):
            by_task.setdefault(group.task_key, []).append(group)
    if not by_task:
        there = "; ".join(dict.fromkeys(group.label for group in groups))
        raise UserError(f"{text}: no finished job has these settings; there are {there}")
    named = {key for key in settings if key != "preset"}
    entries = []
    for candidates in by_task.values():
        chosen = [group for group in candidates if set(group.method.overrides) <= named] or candidates
        if len(chosen) > 1:
            labels = "; ".join(group.label for group in chosen)
            raise UserError(
                f"{text} is several methods on {chosen[0].task.identity}: {labels}; name the settings of one, such as "
                f"'{chosen[0].method.name}[preset={chosen[0].method.preset}]'"
            )
        entries.append(entry_of(chosen[0]))
    return entries


def _setting(group: Group, key: str) -> str | None:
    if key == "preset":
        return group.method.preset
    return setting_text(group.method.settings[key]) if key in group.method.settings else None


def _is_leaderboard(path: Path) -> bool:
    with path.open("rb") as file:
        head = as_utf8(file.read(_LONGEST_HEAD), errors="replace").decode(errors="replace")
    return set(_NEEDED) <= set(head.partition("\n")[0].strip().split(","))


def _leaderboard(where: str, content: bytes) -> Leaderboard:
    import pandas as pd

    texts = {"task_hash": str, "data": str, "preset": str, "settings": str}
    try:
        frame = pd.read_csv(io.BytesIO(as_utf8(content)), dtype=texts)
    except (ValueError, OSError) as error:
        raise UserError(f"{where}: not a readable leaderboard ({first_line(error)})") from error
    if missing := [name for name in _NEEDED if name not in frame.columns]:
        raise UserError(f"{where}: no column {missing[0]}; give a leaderboard that mmcl-bench report wrote")
    _require_cells(where, frame)
    return Leaderboard(where, frame)


def _require_cells(where: str, frame: pd.DataFrame) -> None:
    """Raises :class:`UserError` for the first cell that is empty and must not be, or is no number and must be one."""
    import pandas as pd

    counts = {"version", "method_version", "n_test"}
    figures = {f"{name}{end}" for name in frame if f"{name}_low" in frame for end in ("", "_low", "_high")}
    for name in frame:
        cells = frame[name]
        empty = cells.isna()
        wrong = empty & (name in counts.union(_NEEDED))
        if name in counts | figures:
            wrong |= ~empty & ~np.isfinite(pd.to_numeric(cells, errors="coerce"))
        if wrong.any():
            at = int(wrong.argmax())
            what = "is empty" if empty[at] else f"is {cells[at]!r}, which is no number"
            # The head is row 1, as in a spreadsheet.
            raise UserError(f"{where}: row {at + 2}, column {name} {what}; mend the cell, or make the report again")


def filtered(board: Leaderboard, task: str) -> Leaderboard:
    """Its rows of tasks that match a glob. Raises :class:`UserError` where there is none."""
    kept = board.frame[[matches(str(identity), task) for identity in board.frame["task"]]]
    if kept.empty:
        raise UserError(f"{board.where}: no row matches --task {task}")
    return Leaderboard(board.where, kept.reset_index(drop=True))
