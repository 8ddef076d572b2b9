"""``mmcl-bench score``: scores that somebody else computed, judged under a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json, status
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.evaluation.statistics import Interval
    from mmcl_bench.running.foreign import ForeignRun, ScoredTask


def score(
    task: Annotated[
        str,
        typer.Option(help="The task to judge by, such as 'zero-shot/nw-ucla\\[split=8/2]', or the path of a card."),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES",
            help="Score matrices: csv or parquet with a column sample_id and one a class, npz with scores and "
            "sample_ids, pkl or json with a row by sample id, npy or safetensors with the ids beside it. Several files "
            "are seeds, and so are the runs of an array of three axes.",
        ),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="Sample ids of the rows where FILES lack them: txt with one a line, csv, json, pkl, ..."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What tables call the method; the first file's name when not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first run; those after it count on.", min=0)] = 0,
    setting: Annotated[
        Setting,
        typer.Option(
            metavar="SETTING",
            help=f"{options.SETTING_NAMES}: what the method saw of the tested data beside what it was trained on.",
        ),
    ] = Setting.INDUCTIVE,
    calibration: Annotated[
        float | None,
        typer.Option(help="Zero-shot: what is subtracted from the scores of seen classes before S, U and H."),
    ] = None,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            help="Zero-shot: scores of the task's validation clips, to fit the calibration on. Repeatable: one a file.",
        ),
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Keep it as a result, marked as foreign: needs --name.")
    ] = False,
    template: Annotated[
        Path | None,
        typer.Option(help="Write a csv of the task's test clips and classes to fill in, and stop.", dir_okay=False),
    ] = None,
    data_root: options.DataRoot = None,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Judge scores of another codebase under a task, so that it enters the tables without being ported."""
    if template is None and not files:
        raise UserError("name a file of scores, or --template FILE for a csv to fill in")
    if template is not None and (files or store):
        raise UserError("--template writes an empty file and stops; leave out FILES and --store")
    if store and name is None:
        raise UserError("--store needs --name, what tables shall call the method")

    from mmcl_bench.protocols.catalogue import load_task
    from mmcl_bench.running import foreign
    from mmcl_bench.running.score_files import read_score_files

    if store:
        foreign.check_name(str(name))
    with status("reading the task's data"):
        scored_task = foreign.ScoredTask(load_task(task, paths.data_root(data_root)), paths.data_root(data_root))
    if template is not None:
        n_rows = foreign.write_template(template, scored_task)
        typer.echo(f"{template}: {counted(n_rows, 'clip')}, {len(scored_task.classes)} classes", err=True)
        return
    with status("reading the scores"):
        given = [file for path in files or () for file in read_score_files(path, samples)]
        held_out = [file for path in validation or () for file in read_score_files(path)]
        if held_out and len(held_out) != len(given):
            raise UserError(
                f"--validation has the scores of {len(held_out)} runs and FILES of {len(given)}; give as many"
            )
        runs = [
            foreign.ForeignRun(
                scored_task,
                name or given[0].path.stem,
                seed + at,
                file,
                scored_task.calibration(calibration, held_out[at] if held_out else None),
                setting,
            )
            for at, file in enumerate(given)
        ]
        if len({run.metrics for run in runs}) > 1:
            raise UserError("some of the runs have the scores of unseen classes alone; score these by themselves")
        intervals = _intervals(runs)
    stored = [run.store(paths.results_root(results)) for run in runs] if store else []
    folders = [str(each.folder) for each in stored]
    if as_json:
        show_json(_record(scored_task, runs, intervals, folders))
        return
    show(_table(scored_task, runs, intervals))
    for folder in folders:
        typer.echo(f"stored in {folder}", err=True)


def _intervals(runs: Sequence[ForeignRun]) -> dict[str, list[Interval]]:
    """By metric: the interval of each file, then, of several, that of their mean."""
    import numpy as np

    from mmcl_bench.core.seeds import derive_seed
    from mmcl_bench.evaluation.metrics import METRICS
    from mmcl_bench.evaluation.statistics import FEWEST_RUNS, bootstrap_interval
    from mmcl_bench.running.recording import LEVEL, RESAMPLES

    found = {}
    for metric in map(METRICS.get, runs[0].metrics):
        groups = [[run] for run in runs] + ([list(runs)] if len(runs) > 1 else [])
        found[metric.name] = [
            bootstrap_interval(
                metric,
                [run.scored for run in group],
                RESAMPLES,
                LEVEL,
                over_runs=len(group) >= FEWEST_RUNS,
                # Of one file as a stored result has it.
                generator=np.random.default_rng(
                    derive_seed(":".join(run.hash for run in group), f"bootstrap {metric.name}")
                ),
            )
            for group in groups
        ]
    return found


def _table(scored_task: ScoredTask, runs: Sequence[ForeignRun], intervals: dict[str, list[Interval]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from mmcl_bench.evaluation.metrics import METRICS
    from mmcl_bench.report.tables import percent

    notes = [
        f"percent, with 95% intervals over test samples{' and runs' if len(runs) > 1 else ''}; "
        f"{len(runs[0].scored)} test clips",
        "scores from elsewhere: nobody here saw how epoch and settings were chosen",
    ]
    unknown = [name for name in scored_task.task.metrics if name not in intervals]
    if unknown:
        notes.append(
            "scores of the unseen classes alone; unknown: " + ", ".join(METRICS.get(name).title for name in unknown)
        )
    elif scored_task.task.card.family == "zero-shot":
        notes += sorted({run.calibration.note for run in runs})
        notes += [f"{run.file.label}: {run.wiped_out}" for run in runs if run.wiped_out]
    table = Table(
        title=Text(f"{scored_task.task.identity}  {runs[0].name} (foreign, {runs[0].setting})", style="bold"),
        caption=Text("\n".join(notes)),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    names = [run.file.label for run in runs]
    alike = len(set(names)) < len(names)
    for run, file_name in zip(runs, names, strict=True):
        table.add_column(Text(f"seed {run.seed}" if alike else file_name), justify="right")
    if len(runs) > 1:
        table.add_column("mean", justify="right")
    table.add_column("n", justify="right")
    for metric in scored_task.task.metrics:
        found = intervals.get(metric)
        cells = ["unknown"] if found is None else [*map(percent, found), str(found[0].n)]
        style = "bold" if metric == scored_task.task.card.main_metric else None
        table.add_row(*map(Text, [METRICS.get(metric).title, *cells]), style=style)
    return table


def _record(
    scored_task: ScoredTask, runs: Sequence[ForeignRun], intervals: dict[str, list[Interval]], folders: Sequence[str]
) -> dict[str, Any]:
    from mmcl_bench.evaluation.metrics import per_class_accuracy
    from mmcl_bench.running.recording import figure_record, number

    def figures(at: int) -> dict[str, Any]:
        known = {metric: figure_record(found[at]).model_dump() for metric, found in intervals.items()}
        return {metric: known.get(metric) for metric in scored_task.task.metrics}

    return {
        "task": scored_task.task.identity,
        "task_hash": scored_task.task.hash,
        "method": runs[0].name,
        "foreign": True,
        "setting": str(runs[0].setting),
        "n_test": len(runs[0].scored),
        "main_metric": scored_task.task.card.main_metric,
        "runs": [
            {
                "file": str(run.file.path),
                "run": run.file.run,
                "seed": run.seed,
                "calibration": run.calibration.value,
                "calibration_source": run.calibration.source,
                "wiped_out": run.wiped_out or None,
                "metrics": figures(at),
                "per_class": {
                    name: number(share)
                    for name, share in zip(
                        scored_task.classes_of(run.file), per_class_accuracy(run.scored), strict=True
                    )
                },
                "folder": folders[at] if folders else None,
            }
            for at, run in enumerate(runs)
        ],
        "mean": figures(-1) if len(runs) > 1 else None,
    }
