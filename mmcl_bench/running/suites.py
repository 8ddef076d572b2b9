"""Many jobs named together: tasks by methods by splits by seeds, on the command line or in a suite file.

A suite is one TOML file with one or more matrices::

    title = "What we run every night"

    [[matrix]]
    tasks = ["zero-shot/nw-ucla", "supervised/*"]
    methods = ["mmcl", "devise-joints"]
    splits = "all"
    seeds = 5
    settings = { epochs = 20 }

Suites in ``tasks/suites`` come with the package and are known by name.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.records import read_toml
from mmcl_bench.core.registry import unknown
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.catalogue import Splits, each_value, find_tasks, is_pattern, require_splits
from mmcl_bench.running.jobs import Job, make_job

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method

Variants = Callable[["type[Method]", str, Mapping[str, str]], Sequence[Mapping[str, str]]]
"""From a method, a preset and overrides to the overrides of one job or several."""
_ALL = "all"
_Name = Annotated[str, Field(min_length=1)]


class Matrix(BaseModel):
    """Every method on every task and split, over seeds. A method is left out for tasks that it does not support."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[_Name, ...] = Field(min_length=1)
    """Names of tasks, or patterns of ``family/name`` such as ``zero-shot/*``."""
    methods: tuple[_Name, ...] = Field(min_length=1)
    """Names, ``all``, or patterns of ``kind/name`` such as ``vae/*``."""
    splits: Splits = ()
    presets: tuple[_Name, ...] = Field(default=("quick",), min_length=1)
    seeds: int | None = Field(default=None, ge=1)
    """How many, from 0 on; None: as many as the task's card asks for."""
    settings: dict[str, JsonValue] = {}
    """Overrides of the methods' settings."""
    parameters: dict[str, str] = {}
    """Parameters of the tasks; several values have commas between them, a task each."""
    limit: int | None = Field(default=None, ge=1)

    def jobs(self, data_root: Path | None = None) -> list[Job]:
        """The jobs, without repetition. Raises :class:`UserError` for names and values that do not exist."""
        tasks = self.bound_tasks(data_root)
        require_splits(tasks, self.splits)
        overrides = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in self.settings.items()
        }
        return jobs_of(tasks, self.methods, self.presets, self.seeds, overrides, self.limit)

    def bound_tasks(self, data_root: Path | None = None) -> list[Task]:
        """Every task on every split. Raises :class:`UserError` for names and values that do not exist."""
        return [
            task
            for name in self.tasks
            for bound in each_value(self.parameters)
            for task in find_tasks(name, self.splits, bound, data_root)
        ]


class Suite(BaseModel):
    """The content of a suite file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    matrix: tuple[Matrix, ...] = Field(min_length=1)

    def jobs(self, data_root: Path | None = None) -> list[Job]:
        """The jobs of all its matrices, without repetition, in their order."""
        return _distinct(job for matrix in self.matrix for job in matrix.jobs(data_root))


def load_suite(name: str) -> Suite:
    """The suite in a file, or the packaged one of that name. Raises :class:`UserError` with the field that is wrong."""
    path = Path(paths.at_home(name))
    if path.suffix != ".toml":
        known = suite_names()
        if name not in known:
            raise UserError(
                f"{unknown('suite', name, known)} A suite of your own is given as a file, such as mine.toml."
            )
        path = _packaged() / f"{name}.toml"
    return read_toml(path, Suite, "suite")


def suite_names() -> list[str]:
    """Names of the packaged suites."""
    return sorted(path.stem for path in _packaged().glob("*.toml"))


def jobs_of(
    tasks: Sequence[Task],
    methods: Sequence[str],
    presets: Sequence[str],
    seeds: int | None,
    overrides: Mapping[str, str],
    limit: int | None,
    variants: Variants = lambda method, preset, overrides: [overrides],
) -> list[Job]:
    """Every method on every task that it supports, over presets, variants and seeds; ``seeds`` None: as in the cards.

    ``methods`` are names and patterns as :func:`method_names` takes them. Raises :class:`UserError` for a method that
    supports none of the tasks, or a task that no method supports.
    """
    chosen = [METHODS.get(name) for name in method_names(methods, {task.method_family for task in tasks})]
    _refuse_misfits(tasks, chosen, presets, overrides)
    jobs = []
    for task in tasks:
        for method in chosen:
            if task.method_family not in method.families:
                continue
            for preset in presets:
                for own in variants(method, preset, overrides):
                    first = make_job(task, method, 0, preset, own, limit)
                    jobs += [replace(first, seed=seed) for seed in range(seeds or task.card.seeds)]
    return _distinct(jobs)


def method_names(wanted: Sequence[str], families: Collection[str]) -> list[str]:
    """The methods that are wanted, each once: by name, or those that support any of the task families by ``all`` or a
    pattern of ``kind/name``, such as ``vae/*``.

    Raises :class:`UserError` for a pattern that names no method of these families.
    """
    if not any(name == _ALL or is_pattern(name) for name in wanted):
        return list(dict.fromkeys(wanted))
    fitting = [name for name in METHODS.names() if METHODS.get(name).families.intersection(families)]
    paths_of = {f"{METHODS.get(name).kind}/{name}": name for name in fitting}

    def named(pattern: str) -> list[str]:
        if pattern != _ALL and not is_pattern(pattern):
            return [pattern]
        found = sorted(paths_of) if pattern == _ALL else fnmatch.filter(sorted(paths_of), pattern)
        if not found:
            kinds = ", ".join(sorted({path.partition("/")[0] for path in paths_of}))
            raise UserError(
                f"method {pattern}: none for {' and '.join(sorted(families))} matches; patterns are kind/name, "
                f"such as 'vae/*'. Kinds: {kinds}"
            )
        return [paths_of[path] for path in found]

    return list(dict.fromkeys(name for each in wanted for name in named(each)))


def _refuse_misfits(
    tasks: Sequence[Task], methods: Sequence[type[Method]], presets: Sequence[str], overrides: Mapping[str, str]
) -> None:
    """Raises the error of :func:`make_job` for the first task or method that would be left without a job."""
    if not tasks or not methods or not presets:
        raise UserError("a matrix names at least one task, one method and one preset")
    families = {task.method_family: task for task in tasks}
    for task in families.values():
        if not any(task.method_family in method.families for method in methods):
            make_job(task, methods[0], 0, presets[0], overrides)
    for method in methods:
        if not any(family in method.families for family in families):
            make_job(tasks[0], method, 0, presets[0], overrides)


def _distinct(jobs: Iterable[Job]) -> list[Job]:
    return list({job.hash: job for job in jobs}.values())


def _packaged() -> Path:
    return paths.packaged("tasks") / "suites"
