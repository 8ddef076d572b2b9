"""``mmcl-bench run``: train, evaluate and store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench import paths
from mmcl_bench.cli.options import key_values
from mmcl_bench.errors import UserError

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Progress


def run(
    task: Annotated[
        str,
        typer.Argument(
            help="A family (supervised, zero-shot, transfer), a task such as 'zero-shot/synth60[split=55/5]', "
            "or the path of a task card."
        ),
    ],
    split: Annotated[str | None, typer.Option(help="Split of the task, such as 55/5, 55/5:smie-1 or x-view.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set of the family's task.")] = None,
    source: Annotated[str | None, typer.Option(help="Transfer: the data set to train on.")] = None,
    target: Annotated[str | None, typer.Option(help="Transfer: the data set to test on.")] = None,
    duplicates: Annotated[
        str | None,
        typer.Option(help="removed: without the test clips that equal a training clip; a task version of its own."),
    ] = None,
    method: Annotated[str, typer.Option(help="Method, or several with commas between.")] = "mmcl",
    preset: Annotated[str, typer.Option(help="quick: minutes on two cores. paper: the published settings.")] = "quick",
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0 on.", min=1)] = 1,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a method's setting, as key=value. Repeatable.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", help="Set a task's parameter, as key=value, such as text=clip:ViT-B-32."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Keep that many clips a side: a smoke run, never ranked.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the stored result and run again.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")] = "auto",
    data_root: Annotated[
        Path | None,
        typer.Option("--data-root", envvar=paths.DATA_ROOT_VARIABLE, help="Folder of prepared data sets and caches."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", envvar=paths.RESULTS_VARIABLE, help="Folder of results.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run a task with a method, or report the stored result of the same job."""
    from mmcl_bench.tasks import find_task

    if target is not None and dataset is not None:
        raise UserError("--target and --dataset both name the data set to test on; give one")
    bound = key_values("--parameter", parameters)
    if split is not None:
        bound["split"] = split
    if duplicates is not None:
        bound["duplicates"] = duplicates
    wanted = find_task(task, target or dataset, source, bound, paths.data_root(data_root))

    from mmcl_bench.jobs import make_job
    from mmcl_bench.methods import METHODS

    overrides = key_values("--set", settings)
    classes = [METHODS.get(name.strip()) for name in method.split(",")]
    jobs = [make_job(wanted, each, seed, preset, overrides, limit) for each in classes for seed in range(seeds)]

    from mmcl_bench.runner import Surroundings, run_job

    stored = []
    for number, job in enumerate(jobs, 1):
        label = f"{job.method}, seed {job.seed} ({number} of {len(jobs)})"
        with _progress(label) as progress:
            where = Surroundings(paths.data_root(data_root), paths.results_root(results), _device(device), progress)
            result, is_new = run_job(job, where, fresh)
        stored.append(result)
        if not is_new:
            typer.echo(f"{label}: stored result of {result.folder}", err=True)

    from mmcl_bench.report import tables

    if as_json:
        import json

        typer.echo(json.dumps(tables.run_records(stored), indent=1))
        return
    from rich.console import Console

    Console().print(tables.run_table(stored))
    typer.echo(f"stored in {paths.results_root(results) / 'jobs'}; mmcl-bench report makes the page", err=True)


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: this machine has no such device; try cpu or auto") from error
    return name


@contextmanager
def _progress(label: str) -> Iterator[Progress]:
    """A live line a phase on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        disable=not console.is_terminal,
    )
    lines: dict[str, TaskID] = {}

    def show(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        text = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        if phase not in lines:
            lines[phase] = bar.add_task(f"{label}  {phase}", total=total, figures=text)
        bar.update(lines[phase], completed=done, total=total, figures=text)

    with bar:
        yield show
