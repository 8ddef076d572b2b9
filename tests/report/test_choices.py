"""What label-free scores would have chosen, from the steps that jobs kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmcl_bench.evaluation.choosing import TITLES, column_of
from mmcl_bench.report.choices import choices, frame_of, numbers_of
from mmcl_bench.report.lineage import origin_of
from mmcl_bench.report.page import build_report
from mmcl_bench.report.tables import leaderboard_rows

# Of three steps the middle one is never the best on average with its neighbours, so a score chooses the first or last.
FALLING, RISING = (3.0, 2.0, 1.0), (1.0, 2.0, 3.0)


def run(store_job: Any, figures: tuple[float | None, ...], rising: tuple[str, ...] = (), **others: Any) -> Any:
    """A job with these test figures, whose scores fall with the steps but for those that rise."""
    scores = {column_of(by): RISING if by in rising else FALLING for by in TITLES}
    history = [{"epoch": at + 1, **{name: each[at] for name, each in scores.items()}} for at in range(3)]
    oracle = max(figure for figure in figures if figure is not None)
    given = {"family": "transfer", "history": {"selection": history}, **others}
    return store_job(oracle=oracle, figures=figures, **given)


def test_a_share_of_the_oracle_s_gain_is_what_the_choice_adds_to_the_last_step(store_job: Any) -> None:
    jobs = [
        run(store_job, (0.6, 0.8, 0.4), rising=("dev",)),
        run(store_job, (0.5, 0.4, 0.2), rising=("dev", "snd"), name="other", seed=1),
    ]
    table = choices(leaderboard_rows(jobs))
    assert table is not None
    assert (table.n_jobs, table.n_tasks) == (2, 2)
    assert (table.last, table.oracle) == pytest.approx((0.3, 0.65))
    assert table.by[TITLES["entropy"]] == pytest.approx((0.6 + 0.5) / 2)
    assert table.by[TITLES["snd"]] == pytest.approx((0.6 + 0.2) / 2)
    shown = frame_of(table).set_index("Chosen by")["Share of the oracle's gain"]
    assert shown.to_dict() == {
        TITLES["source"]: f"{100 * 0.25 / 0.35:.1f}",
        TITLES["entropy"]: f"{100 * 0.25 / 0.35:.1f}",
        TITLES["snd"]: f"{100 * 0.1 / 0.35:.1f}",
        TITLES["dev"]: "0.0",
        TITLES["mixval"]: f"{100 * 0.25 / 0.35:.1f}",
    }
    (of_snd,) = numbers_of(table).query(f"chosen_by == '{TITLES['snd']}'").to_dict("records")
    assert of_snd["share_of_gain"] == pytest.approx(0.1 / 0.35)
    assert (of_snd["figure"], of_snd["last_step"], of_snd["oracle"]) == pytest.approx((0.4, 0.3, 0.65))


def test_where_the_last_step_is_best_there_is_no_share(store_job: Any) -> None:
    table = choices(leaderboard_rows([run(store_job, (0.2, 0.3, 0.9))]))
    assert table is not None
    assert set(frame_of(table)["Share of the oracle's gain"]) == {"–"}


@pytest.mark.parametrize(
    "others",
    [
        {"figures": ()},
        {"figures": (None, 0.5, 0.6)},
        {"history": {"selection": [{"epoch": 1, "validation": 0.5}]}},
        {"history": {}},
        {"oracle": None},
    ],
    ids=["an older version", "undefined", "no label-free score", "no first fit", "no oracle"],
)
def test_jobs_that_kept_too_little_are_left_out(store_job: Any, others: dict[str, Any]) -> None:
    scores = dict.fromkeys(map(column_of, TITLES), 0.0)
    history = [{"epoch": at, **scores, "dev_score": -at} for at in (1, 2, 3)]
    whole = {"family": "transfer", "oracle": 0.6, "figures": (0.4, 0.5, 0.6), "history": {"selection": history}}
    assert choices(leaderboard_rows([store_job(**whole)])) is not None
    assert choices(leaderboard_rows([store_job(**whole | others, name="less")])) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"choose_by": "snd"}, "soft neighbourhood density, a label-free score"), ({}, "validation, on 20 held-out")],
)
def test_the_details_say_what_was_chosen_by(store_job: Any, settings: dict[str, Any], said: str) -> None:
    (row,) = leaderboard_rows([store_job(family="transfer", settings=settings)])
    assert dict(origin_of(row.group))["Selection"].startswith(said)


def test_the_page_and_the_tables_have_it(store_job: Any, tmp_path: Path) -> None:
    run(store_job, (0.6, 0.8, 0.4))
    page = build_report(tmp_path, tmp_path / "reports", "none").page.read_text()
    assert "Choosing the step without target labels" in page
    assert "a mean (1 job, 1 task)" in " ".join(page.split())
    written = (tmp_path / "reports" / "tables" / "transfer-choices.csv").read_text()
    assert "soft neighbourhood density,0.6000,0.4000,0.8000,0.5000,1,1" in written
