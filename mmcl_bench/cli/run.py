"""``mmcl-bench run``: train, evaluate and store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json
from mmcl_bench.cli.jobs import run_jobs
from mmcl_bench.cli.live import LiveProgress
from mmcl_bench.cli.matrix import JobOptions
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted, duration

if TYPE_CHECKING:
    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.coordinating import PlanResult
    from mmcl_bench.running.engines import Engine
    from mmcl_bench.running.fusion import FusionJob
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.planning import Planned
    from mmcl_bench.running.runner import RunSite

SOME_FAILED = 1


@options.takes_options
def run(
    wanted: JobOptions,
    site: options.SiteOptions,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the stored results and run again.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Of several jobs, run those again that failed before.")
    ] = False,
    engine: Annotated[str, typer.Option(help="Where jobs run: local, on this machine; slurm; or ray.")] = "local",
    engine_options: Annotated[
        list[str] | None,
        typer.Option("--engine-option", help="What the engine needs to know, as key=value, such as partition=gpu."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Jobs at once. When not given: one a GPU, or one, or as many as a cluster takes.", min=1),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of a job. When not given, the usable cores in equal shares among the workers.", min=1
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write the training's scalars to this folder, in the form of TensorBoard.")
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Of several tasks, print a table each, with intervals and comparisons.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run tasks with methods, and report the stored results of those jobs that were run before.

    Several jobs do not stop one another: what fails is named at the end, and the exit code is 1.
    """
    jobs = wanted.jobs(site.data_root)
    if not jobs:
        raise UserError(f"suite {wanted.suite} has nothing to run, as none of its own sets is prepared")

    from mmcl_bench.core.compute import limit_threads, threads_alone
    from mmcl_bench.running.engines import ENGINES
    from mmcl_bench.running.planning import plan

    chosen = ENGINES.get(engine)(workers, options.key_values("--engine-option", engine_options))
    where = site.site(tensorboard)
    describe = _description(jobs, bool(wanted.streams))
    planned = plan(jobs, where)
    announce = partial(_announcement, planned, where, chosen, threads)
    failures: Sequence[tuple[Job, str]] = ()
    if len(jobs) == 1 and engine == "local":
        limit_threads(threads or threads_alone())
        (only,) = planned
        to_run = not only.unready and (fresh or only.state != "done")
        stored = run_jobs(jobs, where, fresh, describe, announce=announce if to_run else lambda jobs: ())
    else:
        ran = _run_all(planned, where, chosen, describe, announce, fresh, retry_failed, threads)
        stored, failures = ran.stored, ran.failures
    fused = _fused(wanted.fusions(site.data_root), stored, where)

    from mmcl_bench.report import run_summary, split_means, tables

    if as_json:
        show_json([*tables.run_records([*stored, *fused]), *(mean.as_json() for mean in split_means.means_of(stored))])
    else:
        alone = stored if details else split_means.without_class_folds(stored)
        several_tasks = len({job.result.task.identity for job in alone}) > 1
        of_tasks = run_summary.summary_tables if several_tasks and not details else tables.run_tables
        for table in [*of_tasks([*alone, *fused]), *split_means.tables_of(stored)]:
            show(table)
        typer.echo(f"stored in {paths.results_root(site.results) / 'jobs'}; mmcl-bench report makes the page", err=True)
    if failures:
        typer.echo(f"mmcl-bench: no result of {len(failures)} of {counted(len(jobs), 'job')}:", err=True)
        for job, why in failures:
            # Of several tasks the description names the task, of one it does not.
            task = "" if describe(job).startswith(job.task.identity) else f"{job.task.identity}, "
            typer.echo(f"  {task}{describe(job)}, seed {job.seed}: {why}", err=True)
        raise typer.Exit(SOME_FAILED)


def _run_all(
    planned: Sequence[Planned],
    where: RunSite,
    engine: Engine,
    describe: Callable[[Job], str],
    announce: Callable[[Sequence[Job]], Sequence[str]],
    fresh: bool,
    retry_failed: bool,
    threads: int | None,
) -> PlanResult:
    from mmcl_bench.running.coordinating import run_plan

    with LiveProgress(lambda job: f"{describe(job)}, seed {job.seed}", announce) as live:
        return run_plan(
            planned,
            replace(where, progress=live.preparing),
            engine,
            live,
            fresh=fresh,
            retry_failed=retry_failed,
            threads=threads,
        )


def _fused(fusions: Sequence[FusionJob], stored: Sequence[Stored], where: RunSite) -> list[Stored]:
    """The fusions of a suite whose members all have a result."""
    if not fusions:
        return []
    from mmcl_bench.running.fusion import run_fusion

    by_hash = {each.result.job_hash: each for each in stored}
    return [
        run_fusion(fusion, [by_hash[job.hash] for job in fusion.to_run], where.results_root)[0]
        for fusion in fusions
        if all(job.hash in by_hash for job in fusion.to_run)
    ]


def _announcement(
    planned: Sequence[Planned], where: RunSite, engine: Engine, threads: int | None, jobs: Sequence[Job]
) -> list[str]:
    """What a run of these jobs of a plan will do, and about how long it takes."""
    from mmcl_bench.datasets.readers import READERS
    from mmcl_bench.datasets.store import CARD

    to_run = {job.hash for job in jobs}
    at_once = engine.at_once(len(jobs), where.device)
    count = f"{len(jobs)} of {counted(len(planned), 'job')}" if len(jobs) < len(planned) else counted(len(jobs), "job")
    lines = [f"runs {count} {_place(engine, where.device, at_once, threads)}; {_expected_time(planned, jobs, at_once)}"]
    datasets = dict.fromkeys(name for job in jobs for name in job.task.datasets)
    to_make = [name for name in datasets if not (where.data_root / name / CARD).is_file() and name in READERS]
    if to_make:
        lines.append(f"makes first: {', '.join(to_make)} (synthetic)")
    if not to_make:
        lines += _transfer_lines(jobs, where)
    unready = [each for each in planned if each.unready and each.job.hash not in to_run and each.state != "done"]
    if unready:
        absent = dict.fromkeys(name for each in unready for name in each.absent)
        lines.append(f"cannot run {counted(len(unready), 'job')}, whose data are not prepared: {', '.join(absent)}")
    return lines


def _transfer_lines(jobs: Sequence[Job], where: RunSite) -> Iterator[str]:
    """For each transfer, how many classes and test clips it has."""
    from mmcl_bench.datasets.prepare import open_dataset
    from mmcl_bench.protocols import PROTOCOLS
    from mmcl_bench.protocols.base import Needs

    for job in {job.task.identity: job for job in jobs if job.task.card.family == "transfer"}.values():
        task = job.task
        try:
            data = {name: open_dataset(name, where.data_root) for name in task.datasets}
            protocol = PROTOCOLS.get(task.protocol)(task, data, Needs(), where.data_root / "cache", job.limit)
            seen, n_test = protocol.classes.seen, len(protocol.test_rows)
        except UserError:
            continue  # its jobs say so
        classes = counted(len(seen), "class", "classes")
        shared = f"{int(seen.sum())} of {classes} shared with the sources" if not seen.all() else f"{classes} shared"
        yield f"{task.identity}: {shared}, {counted(n_test, 'test clip')}"


def _place(engine: Engine, device: str, at_once: int | None, threads: int | None) -> str:
    """``on cpu with 2 threads``, ``on cuda, 2 at once with 4 threads each``, ``on slurm``"""
    together = f", {at_once} at once" if at_once is not None and at_once > 1 else ""
    if engine.name != "local":
        return f"on {engine.name}{together}"
    if threads is None:
        from mmcl_bench.core.compute import threads_alone, threads_each

        threads = threads_each(at_once) if together and at_once else threads_alone()
    return f"on {device}{together} with {counted(threads, 'thread')}{' each' if together else ''}"


def _expected_time(planned: Sequence[Planned], jobs: Sequence[Job], at_once: int | None) -> str:
    to_run = {job.hash for job in jobs}
    # What is done has no time left, and is timed as it is run again.
    left = [each for each in planned if each.job.hash in to_run and each.state != "done"]
    known = [each.seconds for each in left if each.seconds is not None]
    stated = _stated_costs([each.job for each in left if each.seconds is None])
    if not known:
        return f"no similar job was timed{f', but {stated}' if stated else ''}"
    text = f"takes about {duration(sum(known) / (at_once or 1))}"
    if len(known) == len(jobs):
        return text
    untimed = f"and longer by {len(jobs) - len(known)} that are not yet timed"
    return f"{text}, {untimed}{f': {stated}' if stated else ''}"


def _stated_costs(jobs: Sequence[Job]) -> str:
    """``a few hundred clips take seconds for devise``: what methods say of jobs of preset quick; empty where they say
    nothing."""
    from mmcl_bench.core.text import some_of
    from mmcl_bench.methods import METHODS

    methods = {job.method: METHODS.get(job.method) for job in jobs if job.preset == "quick"}
    by_cost: dict[str, list[str]] = {}
    for method in methods.values():
        if method.cost:
            by_cost.setdefault(method.cost, []).append(method.name)
    if not by_cost:
        return ""
    lengths = "; ".join(f"{cost} for {some_of(names)}" for cost, names in by_cost.items())
    with_extractor = any("extractor" in method.Settings.model_fields for method in methods.values())
    extractor = ", and minutes to train their extractor if it is new" if with_extractor else ""
    return f"a few hundred clips take {lengths}{extractor}"


def _description(jobs: Sequence[Job], by_stream: bool) -> Callable[[Job], str]:
    """What tells a job from the others, but for its seed."""
    from mmcl_bench.core.settings import member_text

    shown = {job.hash: job.method if by_stream else member_text(job.method, job.overrides) for job in jobs}
    several_settings = len(set(shown.values())) > len({job.method for job in jobs})
    several_tasks = len({job.task.identity for job in jobs}) > 1
    several_presets = len({job.preset for job in jobs}) > 1

    def describe(job: Job) -> str:
        parts = [job.task.identity] if several_tasks else []
        parts += [shown[job.hash] if several_settings else job.method, *([job.preset] if several_presets else [])]
        return ", ".join([*parts, *(job.settings["streams"] if by_stream else [])])

    return describe
