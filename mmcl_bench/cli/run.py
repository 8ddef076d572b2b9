"""``mmcl-bench run``: train, evaluate and store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench import paths
from mmcl_bench.cli import options
from mmcl_bench.cli.jobs import TaskWish, by_stream, run_jobs, surroundings

if TYPE_CHECKING:
    from mmcl_bench.jobs import Job


def run(
    task: options.TaskName,
    split: options.Split = None,
    dataset: options.Dataset = None,
    source: options.Source = None,
    target: options.Target = None,
    duplicates: options.Duplicates = None,
    method: Annotated[str, typer.Option(help="Method, or several with commas between.")] = "mmcl",
    preset: options.Preset = "quick",
    seeds: options.Seeds = 1,
    streams: Annotated[
        str | None,
        typer.Option(help="One job for each of these skeleton streams, such as joint,bone,joint-motion,bone-motion."),
    ] = None,
    settings: options.Settings = None,
    parameters: options.Parameters = None,
    limit: options.Limit = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the stored result and run again.")] = False,
    device: options.Device = "auto",
    data_root: options.DataRoot = None,
    results: options.Results = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write the training's scalars to this folder, in the form of TensorBoard.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run a task with a method, or report the stored result of the same job."""
    wanted = TaskWish(task, split, dataset, source, target, duplicates, parameters).find(data_root)

    from mmcl_bench.jobs import make_job
    from mmcl_bench.methods import METHODS

    overrides = options.key_values("--set", settings)
    jobs = [
        make_job(wanted, chosen, seed, preset, own, limit)
        for chosen in map(METHODS.get, options.names(method))
        for own in by_stream(chosen, preset, streams, overrides)
        for seed in range(seeds)
    ]
    where = surroundings(data_root, results, device, tensorboard)
    stored = run_jobs(jobs, where, fresh, _stream_of if streams is not None else _method_of)

    from mmcl_bench.report import tables

    if as_json:
        import json

        typer.echo(json.dumps(tables.run_records(stored), indent=1))
        return
    from rich.console import Console

    Console().print(tables.run_table(stored))
    typer.echo(f"stored in {paths.results_root(results) / 'jobs'}; mmcl-bench report makes the page", err=True)


def _method_of(job: Job) -> str:
    return job.method


def _stream_of(job: Job) -> str:
    return f"{job.method}, {', '.join(job.settings['streams'])}"
