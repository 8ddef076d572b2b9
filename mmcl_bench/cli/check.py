"""``mmcl-bench check``: the regression gate."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.baseline import DEFAULT
from mmcl_bench.cli.console import AsJson, show, show_json, status
from mmcl_bench.cli.live import LiveProgress
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmcl_bench.comparing.baseline import Row
    from mmcl_bench.comparing.gate import Judgement
    from mmcl_bench.results.store import Stored
    from mmcl_bench.running.jobs import Job
    from mmcl_bench.running.runner import RunSite

FAILED, NOT_JUDGED = 1, 2
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass
class _Reruns:
    """Stored jobs of the rows of a baseline; and by the key of a row without one, the reason."""

    stored: list[Stored]
    absent: dict[str, str] = field(default_factory=dict)
    """Rows that cannot be run here."""
    refused: dict[str, str] = field(default_factory=dict)
    """Rows that would not compare, so that they were not run."""
    broken: dict[str, str] = field(default_factory=dict)
    """Rows with a job that ended with an error."""


@options.takes_options
def check(
    site: options.SiteOptions,
    baseline: Annotated[Path, typer.Option(help="The baseline to hold to.", dir_okay=False)] = DEFAULT,
    task: Annotated[str, typer.Option(help="Only tasks like this, such as 'zero-shot/*'.")] = "*",
    suite: Annotated[
        str | None, typer.Option(help="Only the rows of a suite: a packaged one's name, or a file such as mine.toml.")
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run the jobs that are not stored, as the baseline's commands say.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --rerun: run those that are stored as well, with the code of now.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="With --rerun: how many of the baseline's seeds; all when not given. Methods without chance take one.",
            min=1,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="With --rerun: jobs at once; one a GPU, or one, when not given.", min=1)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="With --rerun: threads of a job; the cores in equal shares when not given.", min=1),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Rows without a job, or without their data here, are no failure.")
    ] = False,
    only_seeds: Annotated[
        bool,
        typer.Option(
            "--only-seeds",
            help="Judge by the spread over seeds even where the noise of reruns was measured, as after a change that "
            "draws other random numbers.",
        ),
    ] = False,
    false_alarms: Annotated[
        float, typer.Option(help="Chance of failing without a change, over all rows together.", min=1e-6, max=0.5)
    ] = 0.01,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML, a test case a row.", dir_okay=False)] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help='Write a Markdown summary; "$GITHUB_STEP_SUMMARY" is added to.', dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fail (exit code 1) where figures fell below the baseline by more than chance explains; 2: could not tell."""
    if (fresh or (seeds, workers, threads) != (None, None, None)) and not rerun:
        raise UserError("--fresh, --seeds, --workers and --threads say what is run and how; give --rerun with them")

    from mmcl_bench.comparing import gate, gate_report
    from mmcl_bench.comparing.baseline import Baseline
    from mmcl_bench.results.groups import matches

    whole = Baseline.read(baseline)
    rows = [row for row in whole.rows if matches(row.task, task)]
    lacking: list[str] = []
    if suite is not None:
        rows, lacking = _of_suite(rows, suite, task, site.data_root)
    if not rows:
        raise UserError(f"{baseline}: no row is asked for by --task {task}{f' --suite {suite}' if suite else ''}")
    ran = _rerun(rows, seeds, fresh, site.site(), workers, threads) if rerun else _Reruns(_stored(site.results))
    judgements = gate.judge(
        rows,
        gate.current_rows(rows, ran.stored),
        absent=ran.absent,
        refused=ran.refused,
        broken=ran.broken,
        false_alarms=false_alarms,
        only_seeds=only_seeds,
        known=whole.rows,
    )
    if junit is not None:
        gate_report.write(junit, gate_report.junit(judgements))
    if markdown is not None:
        _write_markdown(markdown, gate_report.markdown(judgements))
    elif os.environ.get(STEP_SUMMARY):
        typer.echo(f'for a summary on the page of this run, add --markdown "${STEP_SUMMARY}"', err=True)
    if as_json:
        show_json(gate_report.records(judgements))
    else:
        show(gate_report.table(judgements))
        if changes := gate_report.changes_of_environment(judgements):
            typer.echo(f"other than the baseline's: {', '.join(changes)}", err=True)
    _print_lines(judgements, allow_missing)
    for name in lacking:
        typer.echo(f"suite {suite} names {name}, of which {baseline} has no row; run and accept it", err=True)
    if code := _exit_code(judgements, allow_missing) or (NOT_JUDGED if lacking else 0):
        raise typer.Exit(code)


def _of_suite(rows: Sequence[Row], suite: str, pattern: str, data_root: Path | None) -> tuple[list[Row], list[str]]:
    """The rows whose jobs a suite names, on tasks like the pattern; and the names of those that the baseline lacks."""
    from mmcl_bench.results.groups import matches, unversioned
    from mmcl_bench.running.suites import load_suite

    known = {key: row for row in rows if (key := _job_key(row)) is not None}
    found: dict[str, Row] = {}
    lacking: dict[str, None] = {}
    jobs = load_suite(suite).jobs(paths.data_root(data_root))
    for job in (job for job in jobs if matches(job.task.identity, pattern)):
        task = unversioned(job.task.identity)
        row = known.get((task, job.method, job.preset, _canonical(job.settings)))
        if row is None:
            lacking[f"{task}, {job.method} ({job.preset})"] = None
        else:
            found[row.key] = row
    return list(found.values()), list(lacking)


def _job_key(row: Row) -> tuple[str, str, str, str] | None:
    """Task, method, preset and settings of the jobs that the row's command makes now, when its preset may be another;
    None where it makes none."""
    from mmcl_bench.core.settings import setting_text
    from mmcl_bench.methods import METHODS
    from mmcl_bench.results.groups import unversioned
    from mmcl_bench.running.jobs import settings_of

    overrides = {name: setting_text(value) for name, value in row.overrides.items()}
    try:
        settings = settings_of(METHODS.get(row.method), row.preset, overrides)
    except UserError:
        return None
    return unversioned(row.task), row.method, row.preset, _canonical(settings)


def _canonical(settings: Mapping[str, object]) -> str:
    return json.dumps(settings, sort_keys=True)


def _stored(results: Path | None) -> list[Stored]:
    from mmcl_bench.results.store import stored_results

    with status("reading results"):
        return list(stored_results(paths.results_root(results)))


def _rerun(
    rows: Sequence[Row],
    seeds: int | None,
    fresh: bool,
    where: RunSite,
    workers: int | None,
    threads: int | None,
) -> _Reruns:
    """The jobs of the rows, run where they are not stored."""
    from mmcl_bench.running import regression
    from mmcl_bench.running.coordinating import run_plan
    from mmcl_bench.running.engines import ENGINES
    from mmcl_bench.running.planning import plan

    ran = _Reruns([])
    rows_of_jobs: dict[str, Row] = {}
    jobs: list[Job] = []
    for row in rows:
        try:
            of_row = regression.jobs_of(row, where.data_root, seeds)
            if reason := regression.changed_task(row, of_row[0].task, where.data_root):
                ran.refused[row.key] = reason
                continue
        except UserError as error:
            ran.absent[row.key] = str(error)
            continue
        jobs += of_row
        rows_of_jobs |= {job.hash: row for job in of_row}
    if jobs:
        with LiveProgress(lambda job: f"{job.task.identity}, {rows_of_jobs[job.hash].label}, seed {job.seed}") as live:
            ended = run_plan(
                plan(jobs, where),
                replace(where, progress=live.preparing),
                ENGINES.get("local")(workers),
                live,
                fresh=fresh,
                retry_failed=True,
                threads=threads,
            )
        ran.stored += ended.stored
        for job, why in ended.failures:
            ran.broken.setdefault(rows_of_jobs[job.hash].key, f"seed {job.seed}: {why}")
    return ran


def _print_lines(judgements: Sequence[Judgement], allow_missing: bool) -> None:
    """One line on standard error for each row that moved or was not judged, one for all that may be missing, and one
    for each note."""
    from mmcl_bench.comparing.gate import Verdict
    from mmcl_bench.comparing.gate_report import sentence

    absent = sum(judgement.verdict is Verdict.MISSING for judgement in judgements)
    permitted = allow_missing and absent < len(judgements)
    if permitted and absent:
        typer.echo(f"warning: {counted(absent, 'row')} not judged, which --allow-missing permits", err=True)
    for judgement in judgements:
        told = permitted and judgement.verdict is Verdict.MISSING
        if judgement.verdict not in (Verdict.SAME, Verdict.HELD) and not told:
            warning = "warning: " if judgement.verdict is Verdict.ROSE else ""
            typer.echo(f"{warning}{sentence(judgement)}", err=True)
        for note in judgement.notes:
            typer.echo(f"note: {judgement.row.name}: {note}", err=True)


def _exit_code(judgements: Sequence[Judgement], allow_missing: bool) -> int:
    from mmcl_bench.comparing.gate import FAILING, Verdict

    verdicts = {judgement.verdict for judgement in judgements}
    if not verdicts.isdisjoint(FAILING):
        return FAILED
    nothing_judged = verdicts <= {Verdict.MISSING}
    if Verdict.REFUSED in verdicts or (Verdict.MISSING in verdicts and (not allow_missing or nothing_judged)):
        return NOT_JUDGED
    return 0


def _write_markdown(path: Path, text: str) -> None:
    """Adds to the summary of a step in GitHub Actions, which is one file for all commands of the step."""
    from mmcl_bench.comparing.gate_report import write

    if str(path) == os.environ.get(STEP_SUMMARY):
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        write(path, (text + "\n").encode())
