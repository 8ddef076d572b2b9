"""The jobs whose figures a baseline holds, so that a check can run them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmcl_bench.comparing.baseline import Row
from mmcl_bench.comparing.gate import unlike_task
from mmcl_bench.core.settings import setting_text
from mmcl_bench.results.groups import unversioned

if TYPE_CHECKING:
    from mmcl_bench.protocols.cards import Task
    from mmcl_bench.running.jobs import Job


def jobs_of(row: Row, data_root: Path, n_seeds: int | None = None) -> list[Job]:
    """The jobs of a row's command, with the present task card: of its first ``n_seeds`` seeds, or all; of one seed
    if all seeds gave the same scores. Raises :class:`UserError` where the task or the method is not here."""
    from mmcl_bench.methods import METHODS
    from mmcl_bench.protocols.catalogue import load_task
    from mmcl_bench.running.jobs import make_job

    task, method = load_task(unversioned(row.task), data_root), METHODS.get(row.method)
    overrides = {name: setting_text(value) for name, value in row.overrides.items()}
    seeds = row.seeds[:1] if row.repeatable else row.seeds[:n_seeds]
    return [make_job(task, method, seed.seed, row.preset, overrides) for seed in seeds]


def changed_task(row: Row, task: Task, data_root: Path) -> str:
    """Why figures of the task are not comparable with the row's; empty where they are. The data must be prepared."""
    from mmcl_bench.datasets.prepare import open_dataset

    fingerprints = {name: open_dataset(name, data_root).card.fingerprint for name in task.datasets}
    return unlike_task(row, task.card.version, task.hash, fingerprints)
