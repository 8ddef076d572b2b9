"""What is said beside the figures of a group, and which jobs count in it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mmcl_bench.comparing.paired import compare as compare_sides
from mmcl_bench.comparing.sides import entry_of
from mmcl_bench.report.page import build_report
from mmcl_bench.report.tables import compare, run_records, run_tables
from mmcl_bench.results.groups import Group, group_jobs, wiped_out
from mmcl_bench.results.records import MethodRecord
from mmcl_bench.results.store import Stored
from stored_jobs import leaderboard, stored_job

PROMISED = {"zsl_top1": 0.7, "gzsl_seen": 0.5, "gzsl_unseen": 0.4, "gzsl_h": 4 / 9}
SAID = (
    "the seen classes are wiped out by calibration 0.05: S 0.0, U 100.0, H 0.0; "
    "validation had promised S 50.0, U 40.0, H 44.4"
)


def wiped_out_job(root: Path, seed: int = 0, wiped: bool = True) -> Stored:
    """Classes 0 and 1 are seen. Each clip is right among the classes of its side, and unseen ones score far higher."""
    labels = np.arange(40) % 4
    scores = np.eye(4, dtype=np.float32)[labels]
    scores[:, 2:] += 5 * wiped
    return stored_job(
        root, family="zero-shot", method="devise", seed=seed, scores=scores, labels=labels, validation=PROMISED
    )


@pytest.mark.parametrize(
    ("seen", "unseen", "n_classes", "expected"),
    [
        (0.0, 0.2, 10, "the seen classes are wiped out"),
        (0.6, 0.0, 10, "the unseen classes are wiped out"),
        (0.0, 0.001, 60, "the seen classes are wiped out"),
        (0.9, 0.01, 60, "the unseen classes are all but wiped out"),
        (0.9, 0.02, 60, ""),  # above chance, 1.7
        (0.048, 0.373, 10, "the seen classes are all but wiped out"),
        (0.1, 0.03, 10, ""),  # more than a quarter of the other, as of a method that guesses
        (0.0, 0.0, 10, ""),  # nothing is right, calibrated or not
        (0.3, 0.3, 10, ""),
        (None, 0.3, 10, ""),
        (0.3, None, 10, ""),
    ],
)
def test_a_side_is_wiped_out_where_hardly_a_clip_of_it_is_right(
    seen: float | None, unseen: float | None, n_classes: int, expected: str
) -> None:
    text = wiped_out({"gzsl_seen": seen, "gzsl_unseen": unseen}, n_classes, 0.3, {})
    assert text.startswith(expected)
    assert bool(text) == bool(expected)
    macro = wiped_out({"gzsl_macro_seen": seen, "gzsl_macro_unseen": unseen}, n_classes, 0.3, {})
    assert bool(macro) == bool(expected)


def test_it_is_said_with_what_validation_had_promised(tmp_path: Path) -> None:
    assert Group((wiped_out_job(tmp_path),)).remarks == [SAID]
    figures = {"gzsl_seen": 0.8, "gzsl_unseen": 0.0}
    assert wiped_out(figures, 10, 0.0, {}) == (
        "the unseen classes are wiped out without a calibration: S 80.0, U 0.0; no validation warned of it"
    )


def test_of_several_seeds_it_is_said_of_which(tmp_path: Path) -> None:
    jobs = tuple(wiped_out_job(tmp_path, seed, wiped=seed == 1) for seed in range(3))
    assert Group(jobs).remarks == [f"seed 1: {SAID}"]


def test_it_stands_beside_the_row_everywhere(tmp_path: Path) -> None:
    jobs = [wiped_out_job(tmp_path), stored_job(tmp_path, family="zero-shot", method="mmcl")]
    console = Console(width=400, record=True, file=io.StringIO())
    for table in run_tables(jobs):
        console.print(table)
    assert f"devise (quick): {SAID}" in " ".join(console.export_text().split())
    notes = leaderboard(jobs).set_index("method")["notes"]
    assert notes["devise"] == SAID
    assert notes["mmcl"] is None or notes.isna()["mmcl"]
    assert [record["notes"] for record in run_records(jobs) if record["method"] == "devise"] == [[SAID]]
    assert json.dumps(run_records(jobs))
    report = build_report(tmp_path, tmp_path / "reports")
    gist, figures = SAID.split(": ")
    note = f"<summary>{gist}</summary>{figures}</details>"
    assert note in report.page.read_text(encoding="utf-8"), "its figures unfold, so that the row stays low"
    table = (tmp_path / "reports" / "tables" / "zero-shot.md").read_text(encoding="utf-8")
    assert "validation had promised" in table
    assert "mmcl" in table


def test_a_leaderboard_without_remarks_has_no_column_of_them(tmp_path: Path) -> None:
    stored_job(tmp_path, family="zero-shot", method="mmcl")
    report = build_report(tmp_path, tmp_path / "reports")
    assert "notes" not in report.leaderboards[0].read_text(encoding="utf-8").splitlines()[0]


def deterministic_and_other(root: Path) -> tuple[list[Stored], np.ndarray]:
    """Three seeds of a method that gives the same scores for each, and of one that does not; and how far the first is
    ahead on each."""
    labels = np.arange(40) % 4
    always = np.eye(4, dtype=np.float32)[np.where(np.arange(40) < 30, labels, 0)]
    same = [stored_job(root, method="same", seed=seed, scores=always, deterministic=True) for seed in range(3)]
    other = [stored_job(root, method="other", seed=seed, skill=0.5) for seed in range(3)]
    right = [np.mean(job.scores.argmax(axis=1) == labels) for job in other]
    return [*same, *other], np.mean(always.argmax(axis=1) == labels) - np.array(right)


def test_a_deterministic_method_counts_once_and_pairs_with_every_seed(tmp_path: Path) -> None:
    jobs, ahead = deterministic_and_other(tmp_path)
    other, same = group_jobs(jobs)
    assert (same.seeds, other.seeds) == ((0,), (0, 1, 2))
    for first, second, sign in ((same, other, 1), (other, same, -1)):
        comparison = compare(first, second)
        assert comparison is not None
        assert comparison.paired.difference == pytest.approx(sign * ahead.mean())
        assert comparison.paired.n_runs == 3
    written = io.StringIO()
    Console(file=written, width=100).print(*run_tables(jobs))
    shown = " ".join(written.getvalue().split())
    assert "test samples and seeds; one run of same, as every seed gives the same scores" in shown
    assert compare(same, same) is not None


def test_a_comparison_of_a_deterministic_method_pairs_with_every_seed(tmp_path: Path) -> None:
    jobs, ahead = deterministic_and_other(tmp_path)
    other, same = group_jobs(jobs)
    (found,) = compare_sides([entry_of(same)], [entry_of(other)], ("same", "other"), resamples=100).tasks
    assert found.main.paired.difference == pytest.approx(ahead.mean())
    assert found.main.paired.n_runs == 3
    assert any("is one run, which is compared with each seed" in note for note in found.notes)


@pytest.mark.parametrize(("name", "expected"), [("devise-joints", True), ("logistic", True), ("mmcl", False)])
def test_results_of_a_former_version_tell_whether_their_method_was_deterministic(
    name: str, expected: bool, tmp_path: Path
) -> None:
    record = stored_job(tmp_path, method=name).result.method.model_dump()
    del record["deterministic"]
    assert MethodRecord.model_validate(record).deterministic is expected
