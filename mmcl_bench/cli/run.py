"""``mmcl-bench run``: train, evaluate and store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json
from mmcl_bench.cli.jobs import run_jobs
from mmcl_bench.cli.live import LiveTable
from mmcl_bench.cli.matrix import JobOptions
from mmcl_bench.core import paths

if TYPE_CHECKING:
    from mmcl_bench.running.coordinating import PlanResult
    from mmcl_bench.running.engines import Engine
    from mmcl_bench.running.jobs import Job
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
    as_json: AsJson = False,
) -> None:
    """Run tasks with methods, and report the stored results of those jobs that were run before.

    Several jobs do not stop one another: what fails is named at the end, and the exit code is 1.
    """
    jobs = wanted.jobs(site.data_root)

    from mmcl_bench.core.compute import limit_threads, threads_alone
    from mmcl_bench.running.engines import ENGINES

    chosen = ENGINES.get(engine)(workers, options.key_values("--engine-option", engine_options))
    where = site.site(tensorboard)
    describe = _description(jobs, wanted.streams)
    failures: Sequence[tuple[Job, str]] = ()
    if len(jobs) == 1 and engine == "local":
        limit_threads(threads or threads_alone())
        stored = run_jobs(jobs, where, fresh, describe)
    else:
        ran = _run_all(jobs, where, chosen, describe, fresh, retry_failed, threads)
        stored, failures = ran.stored, ran.failures

    from mmcl_bench.report import split_means, tables

    if as_json:
        means = split_means.split_means(tables.leaderboard_rows(stored))
        show_json([*tables.run_records(stored), *(mean.as_json() for mean in means)])
    else:
        for table in [*tables.run_tables(stored), *split_means.tables_of(stored)]:
            show(table)
        typer.echo(f"stored in {paths.results_root(site.results) / 'jobs'}; mmcl-bench report makes the page", err=True)
    if failures:
        typer.echo(f"mmcl-bench: {len(failures)} of {len(jobs)} jobs have no result:", err=True)
        for job, why in failures:
            typer.echo(f"  {job.task.identity}, {describe(job)}, seed {job.seed}: {why}", err=True)
        raise typer.Exit(SOME_FAILED)


def _run_all(
    jobs: Sequence[Job],
    where: RunSite,
    engine: Engine,
    describe: Callable[[Job], str],
    fresh: bool,
    retry_failed: bool,
    threads: int | None,
) -> PlanResult:
    from mmcl_bench.running.coordinating import run_plan
    from mmcl_bench.running.planning import plan

    planned = plan(jobs, where)
    with LiveTable(lambda job: f"{describe(job)}, seed {job.seed}") as live:
        return run_plan(
            planned,
            replace(where, progress=live.preparing),
            engine,
            live,
            fresh=fresh,
            retry_failed=retry_failed,
            threads=threads,
        )


def _description(jobs: Sequence[Job], streams: str | None) -> Callable[[Job], str]:
    """What tells a job from the others, but for its seed."""
    from mmcl_bench.core.settings import member_text

    shown = {job.hash: job.method if streams else member_text(job.method, job.overrides) for job in jobs}
    several_settings = len(set(shown.values())) > len({job.method for job in jobs})
    several_tasks = len({job.task.identity for job in jobs}) > 1
    several_presets = len({job.preset for job in jobs}) > 1

    def describe(job: Job) -> str:
        parts = [job.task.identity] if several_tasks else []
        parts += [shown[job.hash] if several_settings else job.method, *([job.preset] if several_presets else [])]
        return ", ".join([*parts, *(job.settings["streams"] if streams is not None else [])])

    return describe
