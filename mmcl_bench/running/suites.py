"""Many jobs named together: tasks by methods by splits by seeds, on the command line or in a suite file.

A suite is one TOML file with one or more matrices::

    title = "What we run every night"

    [[matrix]]
    tasks = ["zero-shot/nw-ucla", "supervised/*"]
    methods = ["mmcl[epochs=20]", "devise-joints"]
    splits = "all"
    seeds = 5

    [[fusion]]
    tasks = ["supervised/nw-ucla"]
    members = ["mmcl[streams=joint]", "mmcl[streams=bone]"]

Suites in ``tasks/suites`` come with the package and are known by name.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.records import read_toml
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.settings import PRESET, parse_bracketed, split_outside_brackets
from mmcl_bench.core.text import FOLDS, some_of
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.catalogue import (
    Splits,
    each_value,
    find_tasks,
    is_pattern,
    own_datasets,
    require_splits,
)
from mmcl_bench.running.jobs import Job, make_job

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method
    from mmcl_bench.running.fusion import FusionJob

Variants = Callable[["type[Method]", Mapping[str, str]], Sequence[Mapping[str, str]]]
"""From a method, a preset and overrides to the overrides of one job or several."""
_ALL = "all"
_Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class ChosenMethod:
    """A method that is asked for, with the settings that are given for it alone."""

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """By name, as text; ``preset`` may be among them."""
    by_pattern: bool = False
    """Whether ``all`` or a pattern named it."""

    def __str__(self) -> str:
        listed = ",".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.name}[{listed}]" if listed else self.name

    @property
    def method(self) -> type[Method]:
        """Raises :class:`UserError` where there is none of this name."""
        return METHODS.get(self.name)

    def preset_or(self, presets: Sequence[str]) -> Sequence[str]:
        """Its own preset, where it is given one."""
        return (self.settings[PRESET],) if PRESET in self.settings else presets

    def overrides(self, shared: Mapping[str, str]) -> dict[str, str]:
        """Its own settings, and those of ``shared`` that it knows and that are not given for it alone."""
        known = self.method.Settings.model_fields
        own = {key: value for key, value in self.settings.items() if key != PRESET}
        return {key: value for key, value in shared.items() if key in known} | own


class Matrix(BaseModel):
    """Every method on every task and split, over seeds. A method is left out for tasks that it does not support."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[_Name, ...] = Field(min_length=1)
    """Names of tasks, or patterns of ``family/name`` such as ``zero-shot/*``."""
    methods: tuple[_Name, ...] = Field(min_length=1)
    """Names, ``all``, or patterns such as ``vae/*``, with settings in brackets: see :func:`chosen_methods`."""
    splits: Splits = ()
    presets: tuple[_Name, ...] = Field(default=("quick",), min_length=1)
    seeds: int | None = Field(default=None, ge=1)
    """How many, from 0 on; None: as many as the task's card asks for."""
    settings: dict[str, JsonValue] = {}
    """Overrides of the settings of those methods that know them."""
    parameters: dict[str, str] = {}
    """Parameters of the tasks; several values have commas between them, a task each."""
    limit: int | None = Field(default=None, ge=1)
    own_set: str | None = None
    """A set of one's own that its tasks are on; where it is not prepared, the matrix has no jobs."""

    @field_validator("splits", mode="before")
    @classmethod
    def _by_one_name(cls, told: object) -> object:
        return (told,) if told == FOLDS else told

    def jobs(self, data_root: Path | None = None, every_task: bool = True) -> list[Job]:
        """The jobs, without repetition. Raises :class:`UserError` for names and values that do not exist, and with
        ``every_task`` for a task that no method supports."""
        if self.absent(data_root):
            return []
        tasks = self.bound_tasks(data_root)
        require_splits(tasks, self.splits)
        overrides = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in self.settings.items()
        }
        return jobs_of(tasks, self.methods, self.presets, self.seeds, overrides, self.limit, every_task=every_task)

    def bound_tasks(self, data_root: Path | None = None) -> list[Task]:
        """Every task on every split. Raises :class:`UserError` for names and values that do not exist."""
        return [
            task
            for name in (() if self.absent(data_root) else self.tasks)
            for bound in each_value(self.parameters)
            for task in find_tasks(name, self.splits, bound, data_root)
        ]

    def absent(self, data_root: Path | None = None) -> bool:
        """Whether its own set is not prepared."""
        return self.own_set is not None and self.own_set not in own_datasets(data_root or paths.data_root())


class Fusion(BaseModel):
    """The weighted sum of several jobs' scores on every task and split, over seeds; its members are run as well."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: tuple[_Name, ...] = Field(min_length=1)
    """As those of a :class:`Matrix`."""
    members: tuple[_Name, ...] = Field(min_length=2)
    """Methods with settings in brackets, one job each."""
    splits: Splits = ()
    presets: tuple[_Name, ...] = Field(default=("quick",), min_length=1)
    seeds: int | None = Field(default=None, ge=1)
    """How many, from 0 on; None: as many as the task's card asks for."""
    weights: str = "equal"
    """As of ``mmcl-bench fuse``."""
    scale: str = "logits"
    limit: int | None = Field(default=None, ge=1)

    def fusions(self, data_root: Path | None = None) -> list[FusionJob]:
        """Raises :class:`UserError` for names and values that do not exist, and members that do not go together."""
        from mmcl_bench.running.fusion import FusionJob, member_jobs, parse_scale, parse_weights

        tasks = [task for name in self.tasks for task in find_tasks(name, self.splits, {}, data_root)]
        require_splits(tasks, self.splits)
        weights, scale = parse_weights(self.weights), parse_scale(self.scale)
        found = [
            FusionJob(member_jobs(task, self.members, seed, preset=preset, limit=self.limit), weights, scale)
            for task in tasks
            for preset in self.presets
            for seed in range(self.seeds or task.card.seeds)
        ]
        for each in found:
            each.check()
        return [each for each in found if not each.deterministic or each.first.seed == 0]


class Suite(BaseModel):
    """The content of a suite file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    cost: str | None = None
    """About how long all of it takes, in words, for those who have no timed jobs yet."""
    matrix: tuple[Matrix, ...] = Field(min_length=1)
    fusion: tuple[Fusion, ...] = ()

    def jobs(self, data_root: Path | None = None, every_task: bool = True) -> list[Job]:
        """The jobs of all its matrices, then the members of its fusions, without repetition and in their order;
        ``every_task`` as in :class:`Matrix`."""
        members = [job for each in self.fusions(data_root) for job in each.to_run]
        return _distinct([*(job for matrix in self.matrix for job in matrix.jobs(data_root, every_task)), *members])

    def fusions(self, data_root: Path | None = None) -> list[FusionJob]:
        """Those of its fusions, in their order."""
        return [each for fusion in self.fusion for each in fusion.fusions(data_root)]

    def remarks(self, data_root: Path | None = None) -> list[str]:
        """What to know before it runs, a line each: how long all of it takes, and which own sets it leaves out."""
        absent = dict.fromkeys(str(matrix.own_set) for matrix in self.matrix if matrix.absent(data_root))
        return [
            *([f"all of it: {self.cost}"] if self.cost else []),
            *(
                f"leaves out {name}, which is not prepared; mmcl-bench data prepare custom prepares it"
                for name in absent
            ),
        ]

    def with_methods(self, wanted: Sequence[str], name: str, data_root: Path | None = None) -> Suite:
        """The suite called ``name`` with those methods alone that are wanted, as :func:`chosen_methods` takes them, and
        without its fusions.

        A method stays in the matrices that list it. One that is called by its name and that no matrix lists is put
        into those that have no settings of their own and tasks that it supports. A pattern keeps listed methods alone.
        Raises :class:`UserError` for a method that is left without a matrix.
        """
        families = [{task.method_family for task in matrix.bound_tasks(data_root)} for matrix in self.matrix]
        # Of an own set that is absent, nothing is known, and nothing runs.
        listed = [
            [] if matrix.absent(data_root) else chosen_methods(matrix.methods, own)
            for matrix, own in zip(self.matrix, families, strict=True)
        ]
        known = {each.name for of_matrix in listed for each in of_matrix}
        methods: list[list[str]] = [[] for _ in self.matrix]
        strange: list[ChosenMethod] = []
        for each in chosen_methods(wanted, set().union(*families)):
            places = [
                (at, replace(there, settings={**there.settings, **each.settings}))
                for at, of_matrix in enumerate(listed)
                for there in of_matrix
                if there.name == each.name
            ]
            if not places and not each.by_pattern and each.name in METHODS:
                fits = [bool(each.method.families & own) for own in families]
                places = [(at, each) for at, matrix in enumerate(self.matrix) if fits[at] and not matrix.settings]
            for at, method in places:
                methods[at].append(str(method))
            if not places:
                strange.append(each)
        refused = [each for each in strange if not each.by_pattern] or ([] if any(methods) else strange)
        if refused and refused[0].name in METHODS and not refused[0].by_pattern:
            raise UserError(
                f"suite {name} does not list method {refused[0].name}, and none of its matrices without settings has "
                f"tasks for it; the suite lists {', '.join(sorted(known))}"
            )
        if refused:
            raise UserError(unknown(f"method of suite {name}", refused[0].name, sorted(known)))
        kept = zip(self.matrix, methods, strict=True)
        matrix = [each.model_copy(update={"methods": tuple(own)}) for each, own in kept if own]
        return self.model_copy(update={"matrix": tuple(matrix), "fusion": ()})


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
    variants: Variants = lambda method, overrides: [overrides],
    every_task: bool = True,
) -> list[Job]:
    """Every method on every task that it supports, over presets, variants and seeds; ``seeds`` None: as in the cards.
    A deterministic method has one seed.

    ``methods`` are as :func:`chosen_methods` takes them. ``overrides`` go to the methods that know them. Raises
    :class:`UserError` for a method that supports none of the tasks, for a setting that no method knows and, with
    ``every_task``, for a task that no method supports.
    """
    chosen = chosen_methods(methods, {task.method_family for task in tasks})
    for each in chosen:
        if each.name not in METHODS:
            METHODS.get(each.name)  # says what there is, before the code of the others is loaded
    _refuse_misfits(tasks, [each.method for each in chosen], presets, every_task)
    _require_settings(overrides, [each.method for each in chosen])
    jobs = []
    for task in tasks:
        for each in chosen:
            method = each.method
            if task.method_family not in method.families:
                continue
            for preset in each.preset_or(presets):
                for own in variants(method, each.overrides(overrides)):
                    first = make_job(task, method, 0, preset, own, limit)
                    n_seeds = 1 if method.deterministic else seeds or task.card.seeds
                    jobs += [replace(first, seed=seed) for seed in range(n_seeds)]
    return _distinct(jobs)


def methods_in(text: str) -> list[str]:
    """The parts of a list such as ``devise,mmcl[epochs=2],vae/*``, for :func:`chosen_methods`."""
    return split_outside_brackets(text, f"--method {text}")


def chosen_methods(wanted: Sequence[str], families: Collection[str]) -> list[ChosenMethod]:
    """The methods that are wanted, each once: by name, or those that support any of the task families by ``all`` or a
    pattern of ``kind/name``, such as ``vae/*``.

    Each may have settings in brackets, as in ``mmcl[epochs=2,backbone=st-gcn,hd-gcn]``: several values of a setting
    are a method each. After a pattern they go to those of its methods that know them; ``preset`` may be among them.
    Raises :class:`UserError` for a pattern that names no method of these families or none that knows a setting.
    """
    found: dict[str, ChosenMethod] = {}
    for text in wanted:
        name, given = parse_bracketed(text, f"method {text!r}", several=True)
        by_pattern = name == _ALL or is_pattern(name)
        methods = _matching(name, families) if by_pattern else [name]
        if by_pattern:
            own = {key: value for key, value in given.items() if key != PRESET}
            _require_settings(own, [METHODS.get(method) for method in methods], f"{text}: ")
        for method in methods:
            known = {*METHODS.get(method).Settings.model_fields, PRESET} if by_pattern else given
            own = {key: value for key, value in given.items() if key in known}
            for each in (ChosenMethod(method, values, by_pattern) for values in each_value(own)):
                found.setdefault(str(each), each)
    return list(found.values())


def _matching(pattern: str, families: Collection[str]) -> list[str]:
    """The methods of the task families that ``all`` or a pattern of ``kind/name`` names."""
    fitting = [name for name in METHODS.names() if METHODS.get(name).families.intersection(families)]
    paths_of = {f"{METHODS.get(name).kind}/{name}": name for name in fitting}
    found = sorted(paths_of) if pattern == _ALL else fnmatch.filter(sorted(paths_of), pattern)
    if not found:
        kinds = ", ".join(sorted({path.partition("/")[0] for path in paths_of}))
        raise UserError(
            f"method {pattern}: none for {' and '.join(sorted(families))} matches; patterns are kind/name, "
            f"such as 'vae/*'. Kinds: {kinds}"
        )
    return [paths_of[path] for path in found]


def _require_settings(settings: Iterable[str], methods: Sequence[type[Method]], where: str = "") -> None:
    """Raises :class:`UserError` for the first setting that none of the methods has."""
    fields = {name for method in methods for name in method.Settings.model_fields}
    for key in settings:
        if key not in fields:
            names = list(dict.fromkeys(method.name for method in methods))
            who = f"method {names[0]}" if len(names) == 1 else f"none of the methods {some_of(names)} has it"
            raise UserError(f"{where}{who}: {unknown('setting', key, sorted(fields))}")


def _refuse_misfits(
    tasks: Sequence[Task], methods: Sequence[type[Method]], presets: Sequence[str], every_task: bool
) -> None:
    """Raises the error of :func:`make_job` for the first task or method that would be left without a job."""
    if not tasks or not methods or not presets:
        raise UserError("a matrix names at least one task, one method and one preset")
    families = {task.method_family: task for task in tasks}
    for task in families.values() if every_task else ():
        if not any(task.method_family in method.families for method in methods):
            make_job(task, methods[0], 0, presets[0])
    for method in methods:
        if not any(family in method.families for family in families):
            make_job(tasks[0], method, 0, presets[0])


def _distinct(jobs: Iterable[Job]) -> list[Job]:
    return list({job.hash: job for job in jobs}.values())


def _packaged() -> Path:
    return paths.packaged("tasks") / "suites"
