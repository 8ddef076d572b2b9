"""What ``plan`` and ``run`` share: the jobs that their arguments name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmcl_bench.cli.jobs import TaskWish, by_stream
from mmcl_bench.cli.options import key_values, names
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown

if TYPE_CHECKING:
    from mmcl_bench.protocols.cards import Task
    from mmcl_bench.protocols.catalogue import Splits
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.suites import Matrix

_METHOD, _PRESET, _SEEDS = "mmcl", "quick", 1


@dataclass(frozen=True)
class MatrixWish:
    """How a command names many jobs."""

    tasks: Sequence[str] | None
    suite: str | None
    split: str | None
    splits: str | None
    dataset: str | None
    source: str | None
    target: str | None
    duplicates: str | None
    parameters: Sequence[str] | None
    methods: str | None
    presets: str | None
    seeds: int | None
    streams: str | None
    settings: Sequence[str] | None
    limit: int | None

    def jobs(self, data_root: Path | None) -> list[Job]:
        """The jobs. Raises :class:`UserError` for what does not exist or does not go together."""
        if self.suite is not None:
            return self._of_suite(data_root)
        if not self.tasks:
            raise UserError("name what to run: a task, such as zero-shot, a pattern such as 'zero-shot/*', or --suite")
        from mmcl_bench.protocols.catalogue import require_splits
        from mmcl_bench.running.suites import jobs_of

        tasks = [task for name in self.tasks for task in self._tasks(name, data_root)]
        require_splits(tasks, self._splits)
        return jobs_of(
            tasks,
            names(self.methods or _METHOD),
            names(self.presets or _PRESET),
            self.seeds or _SEEDS,
            key_values("--set", self.settings),
            self.limit,
            lambda method, preset, overrides: by_stream(method, preset, self.streams, overrides),
        )

    def _tasks(self, name: str, data_root: Path | None) -> list[Task]:
        from mmcl_bench.protocols.catalogue import find_tasks, is_pattern, with_splits

        if self.split is not None and self.splits is not None:
            raise UserError("--split and --splits both name the split; give one")
        if not is_pattern(name):
            wish = TaskWish(name, self.split, self.dataset, self.source, self.target, self.duplicates, self.parameters)
            return with_splits(wish.find(data_root), self._splits)
        if self.dataset or self.source or self.target:
            raise UserError(
                f"{name} stands for tasks with data of their own; leave out --dataset, --source and --target"
            )
        bound = key_values("--parameter", self.parameters)
        if self.duplicates is not None:
            bound["duplicates"] = self.duplicates
        splits = (self.split,) if self.split is not None else self._splits
        return find_tasks(name, splits, bound, paths.data_root(data_root))

    @property
    def _splits(self) -> Splits:
        return "all" if self.splits == "all" else tuple(names(self.splits or ""))

    def _of_suite(self, data_root: Path | None) -> list[Job]:
        from mmcl_bench.running.suites import Suite, load_suite

        foreign = {
            "a task": self.tasks,
            "--split": self.split,
            "--splits": self.splits,
            "--dataset": self.dataset,
            "--source": self.source,
            "--target": self.target,
            "--duplicates": self.duplicates,
            "--parameter": self.parameters,
            "--set": self.settings,
            "--streams": self.streams,
        }
        if given := [name for name, value in foreign.items() if value]:
            raise UserError(f"--suite names its tasks and settings itself; leave out {given[0]}")
        suite = load_suite(str(self.suite))
        changes = {
            "seeds": self.seeds,
            "limit": self.limit,
            "presets": tuple(names(self.presets)) if self.presets else None,
        }
        kept = [
            matrix.model_copy(update={k: v for k, v in changes.items() if v is not None}) for matrix in suite.matrix
        ]
        return Suite(title=suite.title, matrix=tuple(self._with_methods(kept))).jobs(data_root)

    def _with_methods(self, matrices: Sequence[Matrix]) -> list[Matrix]:
        """The matrices with those of their methods that were asked for, without those that are left with none."""
        if self.methods is None:
            return list(matrices)
        wanted = names(self.methods)
        known = {method for matrix in matrices for method in matrix.methods}
        if strange := [name for name in wanted if name not in known]:
            raise UserError(unknown(f"method of suite {self.suite}", strange[0], sorted(known)))
        chosen = [(matrix, tuple(name for name in matrix.methods if name in wanted)) for matrix in matrices]
        return [matrix.model_copy(update={"methods": methods}) for matrix, methods in chosen if methods]
