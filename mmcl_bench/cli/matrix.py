"""What ``plan`` and ``run`` share: the jobs that their arguments name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import completion
from mmcl_bench.cli.jobs import by_stream
from mmcl_bench.cli.options import SETTING_NAMES, Limit, TaskOptions, key_values, names
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting

if TYPE_CHECKING:
    from mmcl_bench.protocols.cards import Task
    from mmcl_bench.protocols.catalogue import Splits
    from mmcl_bench.running.fusion import FusionJob
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.suites import Suite

_METHOD, _PRESET, _SEEDS = "mmcl", "quick", 1


@dataclass(frozen=True)
class JobOptions(TaskOptions):
    """The jobs that ``plan`` and ``run`` are asked for."""

    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK",
            autocompletion=completion.tasks,
            help="Families, tasks such as 'zero-shot/synth60\\[split=55/5]', paths of task cards, or patterns such as "
            "'zero-shot/*'.",
        ),
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            help="In the place of tasks: a suite file, or one that comes with the package: embedded, small-real, "
            "leave-one-out, transfer-pairs, published or gate. --methods then keeps some of its methods or names "
            "others; --seeds, --limit and --preset take the place of its own.",
            autocompletion=completion.suites,
        ),
    ] = None
    splits: Annotated[
        list[str] | None,
        typer.Option(
            help="all: every split of the tasks but folds of the classes; folds: these, and their pooled figure; or "
            "names with commas between. One job for each. Repeatable."
        ),
    ] = None
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "--methods",
            help="Method, or several with commas between, each with settings if need be: "
            "'devise,mmcl\\[epochs=2]'; all; or all of a kind, such as 'vae/*'. mmcl when not given. "
            "Repeatable.",
            autocompletion=completion.methods,
        ),
    ] = None
    setting: Annotated[
        Setting | None,
        typer.Option(
            metavar="SETTING",
            help=f"Only methods that may see this of the data to test on: {SETTING_NAMES}.",
        ),
    ] = None
    preset: Annotated[
        list[str] | None,
        typer.Option(
            help="quick: minutes on two cores. paper: the published settings. strong: of networks, as quick but "
            "longer. Or several, with commas between; quick when not given. Repeatable."
        ),
    ] = None
    seeds: Annotated[int | None, typer.Option(help="How many seeds, from 0 on; 1 when not given.", min=1)] = None
    streams: Annotated[
        list[str] | None,
        typer.Option(
            help="One job for each of these skeleton streams, such as joint,bone,joint-motion,bone-motion. Repeatable."
        ),
    ] = None
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            help="Set a task's parameter, as key=value, or to several values, a task each: text=minilm,smollm2. "
            "Repeatable.",
        ),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Override a setting of the methods that have it, as key=value, or with several values, a method each: "
            "epochs=2,5. Repeatable.",
        ),
    ] = None
    limit: Limit = None

    def jobs(self, data_root: Path | None) -> list[Job]:
        """The jobs. Raises :class:`UserError` for what does not exist or does not go together."""
        from mmcl_bench.methods import METHODS

        jobs = self._jobs(data_root)
        if self.setting is None:
            return jobs
        methods = [METHODS.get(job.method)(**job.settings) for job in jobs]
        settings = [Setting.UNLABELLED if method.reads_unlabelled else method.setting for method in methods]
        if self.setting not in settings:
            told = dict(sorted(zip((job.method for job in jobs), settings, strict=True)))
            named = ", ".join(f"{name} is {setting}" for name, setting in told.items())
            raise UserError(f"--setting {self.setting}: no such method is among those that were asked for: {named}")
        return [job for job, setting in zip(jobs, settings, strict=True) if setting is self.setting]

    def fusions(self, data_root: Path | None) -> list[FusionJob]:
        """The fusions of a suite, whose members are among the jobs."""
        return [] if self.suite is None else self._suite(data_root).fusions(data_root)

    def _jobs(self, data_root: Path | None) -> list[Job]:
        if self.suite is not None:
            return self._of_suite(data_root)
        if not self.tasks:
            raise UserError("name what to run: a task, such as zero-shot, a pattern such as 'zero-shot/*', or --suite")
        from mmcl_bench.protocols.catalogue import each_value, require_splits
        from mmcl_bench.running.suites import jobs_of, methods_in

        bound = each_value(key_values("--parameter", self.parameters))
        each = [replace(self, parameters=[f"{key}={value}" for key, value in one.items()]) for one in bound]
        tasks = [task for name in self.tasks for options in each for task in options._tasks(name, data_root)]
        require_splits(tasks, self._splits)
        streams = ",".join(self.streams) if self.streams else None
        jobs = [
            job
            for overrides in each_value(key_values("--set", self.settings))
            for job in jobs_of(
                tasks,
                methods_in(",".join(self.methods or [_METHOD])),
                names(",".join(self.preset or [_PRESET])),
                self.seeds or _SEEDS,
                overrides,
                self.limit,
                lambda method, overrides: by_stream(method, streams, overrides),
            )
        ]
        return list({job.hash: job for job in jobs}.values())

    def _tasks(self, name: str, data_root: Path | None) -> list[Task]:
        from mmcl_bench.protocols.catalogue import find_tasks, is_pattern, with_splits

        if self.split is not None and self.splits:
            raise UserError("--split and --splits both name the split; give one")
        splits = (self.split,) if self.split is not None else self._splits
        if not is_pattern(name):
            return with_splits(replace(self, split=None).find(name, data_root), splits)
        if self.dataset or self.source or self.target:
            raise UserError(f"{name} names tasks with data of their own; leave out --dataset, --source and --target")
        return find_tasks(name, splits, self.bound(), paths.data_root(data_root))

    @property
    def _splits(self) -> Splits:
        return "all" if self.splits == ["all"] else tuple(names(",".join(self.splits or [])))

    def _of_suite(self, data_root: Path | None) -> list[Job]:
        foreign = {
            "a task": self.tasks,
            "--split": self.split,
            "--splits": self.splits,
            "--dataset": self.dataset,
            "--source": self.source,
            "--target": self.target,
            "--duplicates": self.duplicates,
            "--class-map": self.class_map,
            "--shots": self.shots,
            "--parameter": self.parameters,
            "--set": self.settings,
            "--streams": self.streams,
        }
        if given := [name for name, value in foreign.items() if value]:
            raise UserError(f"--suite names its tasks and settings itself; leave out {given[0]}")
        suite = self._suite(data_root)
        for line in suite.remarks(data_root):
            typer.echo(f"suite {self.suite}: {line}", err=True)
        return suite.jobs(data_root, every_task=not self.methods)

    def _suite(self, data_root: Path | None) -> Suite:
        """The suite with the seeds, clips, presets and methods that are given in the place of its own."""
        from mmcl_bench.running.suites import load_suite, methods_in

        suite = load_suite(str(self.suite))
        given = {
            "seeds": self.seeds,
            "limit": self.limit,
            "presets": tuple(names(",".join(self.preset))) if self.preset else None,
        }
        update = {key: value for key, value in given.items() if value is not None}
        changed = suite.model_copy(
            update={
                "matrix": tuple(matrix.model_copy(update=update) for matrix in suite.matrix),
                "fusion": tuple(fusion.model_copy(update=update) for fusion in suite.fusion),
            }
        )
        if not self.methods:
            return changed
        return changed.with_methods(methods_in(",".join(self.methods)), str(self.suite), data_root)
