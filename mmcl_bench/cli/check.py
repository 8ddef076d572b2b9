"""``mmcl-bench check``: the regression gate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench import paths
from mmcl_bench.cli import options
from mmcl_bench.cli.baseline import DEFAULT
from mmcl_bench.cli.console import AsJson, show, show_json, status
from mmcl_bench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmcl_bench.baseline import Row
    from mmcl_bench.gate import Judgement
    from mmcl_bench.results import Stored

FELL, NOT_JUDGED = 1, 2
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def check(
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
    device: options.Device = "auto",
    data_root: options.DataRoot = None,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Fail (exit code 1) where figures fell below the baseline by more than chance explains; 2: could not tell."""
    if (fresh or seeds is not None) and not rerun:
        raise UserError("--fresh and --seeds say what is run; give --rerun with them")

    from mmcl_bench import gate, gate_report
    from mmcl_bench.baseline import Baseline, matches

    whole = Baseline.read(baseline)
    rows = [row for row in whole.rows if matches(row.task, task)]
    if suite is not None:
        rows = _of_suite(rows, suite, data_root)
    if not rows:
        raise UserError(f"{baseline}: no row is asked for by --task {task}{f' --suite {suite}' if suite else ''}")
    stored, absent, refused = (
        _rerun(rows, seeds, fresh, device, data_root, results) if rerun else (_stored(results), {}, {})
    )
    judgements = gate.judge(
        rows,
        gate.current_rows(rows, stored),
        absent=absent,
        refused=refused,
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
        if changes := gate_report.surroundings(judgements):
            typer.echo(f"other than the baseline's: {', '.join(changes)}", err=True)
    _say(judgements, allow_missing)
    if code := _exit_code(judgements, allow_missing):
        raise typer.Exit(code)


def _of_suite(rows: Sequence[Row], suite: str, data_root: Path | None) -> list[Row]:
    """The rows whose jobs a suite names, as far as the baseline has them."""
    from mmcl_bench.baseline import unversioned
    from mmcl_bench.suites import load_suite

    jobs = load_suite(suite).jobs(paths.data_root(data_root))
    named = [(unversioned(job.task.identity), job.method, job.preset, dict(job.settings)) for job in jobs]
    return [row for row in rows if (unversioned(row.task), row.method, row.preset, row.settings) in named]


def _stored(results: Path | None) -> list[Stored]:
    from mmcl_bench.results import stored_results

    with status("reading results"):
        return list(stored_results(paths.results_root(results)))


def _rerun(
    rows: Sequence[Row], seeds: int | None, fresh: bool, device: str, data_root: Path | None, results: Path | None
) -> tuple[list[Stored], dict[str, str], dict[str, str]]:
    """The jobs of the rows, run where they are not stored; and by key, why a row was not run."""
    from mmcl_bench import gate
    from mmcl_bench.cli.jobs import run_jobs, surroundings

    where = surroundings(data_root, results, device)
    stored: list[Stored] = []
    absent: dict[str, str] = {}
    refused: dict[str, str] = {}
    for row in rows:
        try:
            jobs = gate.jobs_of(row, where.data_root, seeds)
            if reason := gate.changed_task(row, jobs[0].task, where.data_root):
                refused[row.key] = reason
                continue
            stored += run_jobs(jobs, where, fresh, lambda job: f"{job.task.identity}, {job.method}")
        except UserError as error:
            absent[row.key] = str(error)
    return stored, absent, refused


def _say(judgements: Sequence[Judgement], allow_missing: bool) -> None:
    """One line on standard error for each row that needs somebody's eye."""
    from mmcl_bench.gate import Verdict
    from mmcl_bench.gate_report import sentence

    for judgement in judgements:
        if judgement.verdict in (Verdict.FELL, Verdict.ROSE, Verdict.REFUSED, Verdict.MISSING):
            optional = judgement.verdict is Verdict.ROSE or (judgement.verdict is Verdict.MISSING and allow_missing)
            typer.echo(f"{'warning: ' if optional else ''}{sentence(judgement)}", err=True)
        for note in judgement.notes:
            typer.echo(f"note: {judgement.row.name}: {note}", err=True)


def _exit_code(judgements: Sequence[Judgement], allow_missing: bool) -> int:
    from mmcl_bench.gate import Verdict

    verdicts = {judgement.verdict for judgement in judgements}
    if Verdict.FELL in verdicts:
        return FELL
    nothing_judged = verdicts <= {Verdict.MISSING}
    if Verdict.REFUSED in verdicts or (Verdict.MISSING in verdicts and (not allow_missing or nothing_judged)):
        return NOT_JUDGED
    return 0


def _write_markdown(path: Path, text: str) -> None:
    """Adds to the summary of a step in GitHub Actions, which is one file for all that the step says."""
    from mmcl_bench.gate_report import write

    if str(path) == os.environ.get(STEP_SUMMARY):
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        write(path, (text + "\n").encode())
