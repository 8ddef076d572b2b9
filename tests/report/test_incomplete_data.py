"""Figures on an incomplete copy of a data set are never ranked, compared or gated as those on a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmcl_bench.comparing.baseline import Baseline, rows_of
from mmcl_bench.comparing.gate import Verdict, current_rows, judge
from mmcl_bench.comparing.paired import compare as compare_sides
from mmcl_bench.comparing.records import Leaderboard
from mmcl_bench.core.errors import UserError
from mmcl_bench.report.page import build_report
from mmcl_bench.report.tables import compare, leaderboard_rows, run_tables
from mmcl_bench.results.groups import group_jobs
from mmcl_bench.results.store import read_results, require_results
from stored_jobs import leaderboard, stored_job

PART = {"nw-ucla": "1,187 of 1,484 published clips"}
TOLD = "nw-ucla: 1,187 of 1,484 published clips"


def both(root: Path, **options: object) -> None:
    """A whole copy's jobs, and better ones of a part of it."""
    stored_job(root, skill=0.1, **options)  # type: ignore[arg-type]
    stored_job(root, skill=0.9, incomplete=PART, fingerprint="e" * 64, **options)  # type: ignore[arg-type]


def test_results_say_it(tmp_path: Path) -> None:
    both(tmp_path)
    assert read_results(tmp_path).groupby("incomplete")["job"].nunique().to_dict() == {"": 1, TOLD: 1}


def test_rows_of_a_part_stand_apart_in_every_table(tmp_path: Path) -> None:
    both(tmp_path)
    summary = build_report(tmp_path, tmp_path / "out", "none")
    board = summary.leaderboards[0].read_text(encoding="utf-8").splitlines()
    assert "incomplete" in board[0].split(",")
    assert [TOLD in row for row in board[1:]] == [False, True], "the whole copy stands first"
    page = summary.page.read_text(encoding="utf-8")
    assert f"{TOLD}: not ranked with whole copies" in page
    assert page.count('class="task"') == 2
    table = (tmp_path / "out" / "tables" / "supervised.md").read_text(encoding="utf-8").splitlines()
    assert [line.count("first") for line in table[4:6]] == [1, 1], "each is the first of its own"
    assert "| Data |" in table[2]


def test_tables_of_whole_copies_have_no_such_column(tmp_path: Path) -> None:
    stored_job(tmp_path)
    summary = build_report(tmp_path, tmp_path / "out", "none")
    assert "incomplete" not in summary.leaderboards[0].read_text(encoding="utf-8")


def test_a_part_has_no_rank(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        for method, skill in (("good", 0.9), ("bad", 0.1)):
            stored_job(tmp_path, name=name, method=method, skill=skill)
            stored_job(tmp_path, name=name, method=method, skill=1 - skill, incomplete=PART, fingerprint="e" * 64)
    build_report(tmp_path, tmp_path / "out", "none")
    ranked = (tmp_path / "out" / "tables" / "supervised-ranks.csv").read_text(encoding="utf-8").splitlines()
    assert ranked == ["Method,Mean rank", "good (quick),1.00", "bad (quick),2.00"]


def test_the_table_after_a_run_says_it(tmp_path: Path) -> None:
    (table,) = run_tables([stored_job(tmp_path, incomplete=PART)])
    assert TOLD in str(table.title)


def test_a_part_is_not_compared_with_the_whole(tmp_path: Path) -> None:
    both(tmp_path)
    whole, part = group_jobs(row.group.jobs[0] for row in leaderboard_rows(require_results(tmp_path)))
    assert compare(whole, part) is None


def test_rows_of_two_leaderboards_pair_with_their_own_kind(tmp_path: Path) -> None:
    both(tmp_path)
    a, b = (Leaderboard(name, leaderboard(require_results(tmp_path))) for name in ("a", "b"))
    compared = compare_sides(a, b, ("a", "b"))
    assert [row.difference.difference for row in compared.unpaired] == [0.0, 0.0]
    whole_alone = Leaderboard("whole", a.frame[a.frame["incomplete"].isna()].reset_index(drop=True))
    part_alone = Leaderboard("part", b.frame[b.frame["incomplete"].notna()].reset_index(drop=True))
    with pytest.raises(UserError, match="share no row"):
        compare_sides(whole_alone, part_alone, ("whole", "part"))


def test_the_gate_holds_a_part_to_no_figure_of_the_whole(tmp_path: Path) -> None:
    for seed in range(2):
        both(tmp_path, seed=seed)
    rows = rows_of(require_results(tmp_path))
    assert sorted(row.incomplete for row in rows) == ["", TOLD]
    assert len({row.key for row in rows}) == 2
    whole = next(row for row in rows if not row.incomplete)
    of_part = [job for job in require_results(tmp_path) if job.result.task.incomplete]
    (judgement,) = judge([whole], current_rows([whole], of_part))
    assert judgement.verdict is Verdict.REFUSED
    assert "fingerprint" in judgement.reason
    assert {judged.verdict for judged in judge(rows, current_rows(rows, require_results(tmp_path)))} == {Verdict.SAME}
    before = [row.model_copy(update={"incomplete": ""}) for row in rows if row.incomplete]
    assert [each.verdict for each in judge(before, current_rows(before, of_part))] == [Verdict.SAME], (
        "of before it was told"
    )
    Baseline(rows=tuple(rows)).write(tmp_path / "baseline.json")
    assert Baseline.read(tmp_path / "baseline.json").rows == tuple(rows)


def test_published_figures_beside_a_part_say_of_what_ours_are(tmp_path: Path) -> None:
    stored_job(tmp_path, datasets=("nw-ucla",), split="x-view", incomplete=PART)
    build_report(tmp_path, tmp_path / "out", "none")
    (table,) = (tmp_path / "out" / "tables").glob("*-published.csv")
    assert f"one seed; {TOLD}" in table.read_text(encoding="utf-8")
