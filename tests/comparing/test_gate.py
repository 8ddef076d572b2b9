"""The regression gate: its rule, its file, and how often both are right."""

from __future__ import annotations

import io
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from mmcl_bench.comparing import gate, gate_report
from mmcl_bench.comparing.baseline import (
    Baseline,
    Row,
    SeedFigures,
    flip_deviation,
    packed,
    rows_of,
    unpacked,
    with_reruns,
)
from mmcl_bench.comparing.gate import Judgement, Verdict, accepted, current_rows, judge, noises, tolerance
from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.metrics import METRICS
from mmcl_bench.results.store import Stored, stored_results
from stored_jobs import stored_job

SIMULATIONS = int(os.environ.get("MMCL_BENCH_SIMULATE", "200"))
MEASURED = json.loads((Path(__file__).parent / "gate_measured.json").read_text())["rows"]
"""What seeds of the gate's short jobs had right, each trained twice with different rounding."""
N_NOW = 1
"""Seeds of a simulated check, as many as ``nox -s gate`` runs."""
LOSS = 0.03

ENVIRONMENT = {
    "mmcl_bench": "0.1.0",
    "commit": None,
    "dirty": None,
    "python": "3.11",
    "platform": "Linux",
    "device": "cpu",
    "packages": {"torch": "2.4.0"},
}


def store(root: Path, seeds: Sequence[int] = range(4), skill: float = 0.5, **changes: object) -> list[Stored]:
    return [stored_job(root, seed=seed, skill=skill, **changes) for seed in seeds]  # type: ignore[arg-type]


def row(right: np.ndarray, name: str = "toy", first_seed: int = 0, **changes: object) -> Row:
    """A row of the given right samples, bool (S, n)."""
    shares = right.mean(axis=1)
    seeds = tuple(
        SeedFigures(
            seed=first_seed + place,
            job=f"{name}{place}",
            scores=f"{np.packbits(bits).tobytes().hex()}{place}",
            figures={"top1": float(share)},
            right=packed(bits),
        )
        for place, (bits, share) in enumerate(zip(right, shares, strict=True))
    )
    fields = {
        "task": f"supervised/{name}@1[split=x]",
        "task_version": 1,
        "task_hash": "h",
        "family": "supervised",
        "synthetic": False,
        "method": "m",
        "method_version": 1,
        "preset": "quick",
        "settings": {},
        "overrides": {},
        "label": "m (quick)",
        "command": "mmcl-bench run",
        "metric": "top1",
        "n": right.shape[1],
        "figures": {"top1": float(shares.mean())},
        "deviation": float(shares.std(ddof=1)) if len(right) > 1 else 0.0,
        "flip_deviation": flip_deviation(right),
        "repeatable": False,
        "samples": "s",
        "data_fingerprints": {"toy": "f"},
        "weight_hashes": {},
        "environments": (ENVIRONMENT,),
        "seeds": seeds,
    }
    return Row.model_validate({**fields, **changes})


def verdicts(rows: Sequence[Row], now: Sequence[Row], **options: object) -> list[Judgement]:
    return judge(rows, {each.key: each for each in now}, **options)  # type: ignore[arg-type]


# What a baseline holds


def test_a_row_has_the_figures_of_its_jobs_and_the_right_samples_of_the_score_files(tmp_path: Path) -> None:
    stored = store(tmp_path)
    (found,) = rows_of(stored)
    values = [job.result.metrics["top1"].value or 0 for job in stored]
    assert found.figure == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    right = found.right()
    assert right is not None
    for place, job in enumerate(stored):
        assert np.array_equal(right[place], job.scores.argmax(axis=1) == job.samples["column"])
    assert found.command == "mmcl-bench run supervised/toy@1 --method mmcl --preset quick --seeds 4"
    assert found.environments[0].packages["torch"] == "2.4.0"


def test_a_zero_shot_row_counts_samples_of_unseen_classes_alone(tmp_path: Path) -> None:
    stored = store(tmp_path, family="zero-shot")
    (found,) = rows_of(stored)
    right = found.right()
    assert found.n == 20
    assert right is not None
    assert right.shape == (4, 20)
    assert right.mean(axis=1) == pytest.approx([METRICS.get("zsl_top1")(job.scored()) for job in stored])


def test_the_flip_deviation_is_that_of_independent_samples() -> None:
    generator = np.random.default_rng(0)
    chances = generator.random(300)
    right = generator.random((2000, 300)) < chances
    assert flip_deviation(right) == pytest.approx(right.mean(axis=1).std(ddof=1), rel=0.05)
    assert flip_deviation(right) == pytest.approx(math.sqrt((chances * (1 - chances)).sum()) / 300, rel=0.01)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 2400])
def test_right_samples_survive_packing(n: int) -> None:
    right = np.random.default_rng(n).random(n) < 0.8
    assert np.array_equal(unpacked(packed(right), n), right)
    with pytest.raises(ValueError, match="samples"):
        unpacked(packed(right), n + 8)


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    rows = rows_of([*store(tmp_path / "a"), *store(tmp_path / "a", method="linear")])
    again = rows_of([*reversed(store(tmp_path / "b", method="linear")), *reversed(store(tmp_path / "b"))])
    for name, each in (("first.json", rows), ("second.json", again)):
        Baseline(rows=tuple(each)).write(tmp_path / name)
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    assert Baseline.read(tmp_path / "first.json").rows == tuple(rows)


def test_smoke_runs_are_left_out_and_never_make_a_baseline(tmp_path: Path) -> None:
    whole, smoke = store(tmp_path), store(tmp_path, limit=10)
    assert [len(each.seeds) for each in rows_of([*whole, *smoke])] == [4]
    with pytest.raises(UserError, match="smoke runs"):
        rows_of(smoke)
    with pytest.raises(UserError, match="none of the 4 stored jobs"):
        rows_of(whole, "transfer/*")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"dirty": True}, "uncommitted changes"),
        ({"fingerprint": "e" * 64}, "there twice"),
        ({"task_hash": "b" * 64}, "there twice"),
        ({"settings": {"changed": 1}}, "there twice"),
    ],
)
def test_jobs_that_contradict_one_another_are_refused(tmp_path: Path, second: dict[str, object], words: str) -> None:
    jobs = [*store(tmp_path, [0, 1]), *store(tmp_path / "other", [2, 3], **second)]
    with pytest.raises(UserError, match=words):
        rows_of(jobs)


def test_one_seed_is_refused_as_it_says_nothing_of_the_spread(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one seed says nothing"):
        rows_of(store(tmp_path, [0]))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"schema_version": 2, "rows": []}', '{"schema_version": 1, "rows": [{}]}', "[" * 100_000],
)
def test_a_damaged_baseline_is_named_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(content)
    with pytest.raises(UserError) as words:
        Baseline.read(path)
    assert str(path) in str(words.value)
    assert "\n" not in str(words.value)


def test_a_baseline_with_damaged_bits_is_named(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    Baseline(rows=(row(np.ones((2, 8), bool)),)).write(path)
    content = json.loads(path.read_text())
    for bits in ("AAAA", "x", packed(np.ones(9, bool))):
        content["rows"][0]["seeds"][0]["right"] = bits
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match="restore it"):
            Baseline.read(path)


# What is a fall


def test_the_tolerance_is_a_t_quantile_of_the_spread_over_both_runs_seeds() -> None:
    right = np.random.default_rng(3).random((5, 400)) < 0.7
    now = row(np.random.default_rng(4).random((3, 400)) < 0.7, first_seed=10)
    (judged,) = verdicts([row(right)], [now], false_alarms=0.02)
    shares = right.mean(axis=1)
    expected = stats.t.ppf(0.98, 4) * shares.std(ddof=1) * math.sqrt(1 / 5 + 1 / 3)
    assert judged.tolerance == pytest.approx(expected)
    assert judged.p_value == pytest.approx(stats.t.cdf(judged.difference / (expected / stats.t.ppf(0.98, 4)), 4))


def test_more_rows_make_each_tolerance_wider_and_repeatable_ones_do_not() -> None:
    generator = np.random.default_rng(0)
    rows = [row(generator.random((4, 100)) < 0.5, str(i), family=str(i)) for i in range(5)]
    exact = [row(generator.random((1, 100)).repeat(2, axis=0) < 0.5, f"e{i}", repeatable=True) for i in range(5)]
    alone = verdicts(rows[:1], rows[:1])[0].tolerance
    assert verdicts(rows, rows)[0].tolerance > alone
    assert verdicts([*rows[:1], *exact], [*rows[:1], *exact])[0].tolerance == alone


def test_few_seeds_borrow_from_like_rows_by_how_samples_cling_together() -> None:
    generator = np.random.default_rng(0)
    # All samples of a row move together: the variance over seeds is a multiple of that of independent ones.
    others = [row(generator.random((9, 200)) < generator.normal(0.7, 0.08, (9, 1)), str(i)) for i in range(6)]
    few = row(generator.random((2, 200)) < 0.7, "few")
    own, moderated = noises([few])[few.key].seeds, noises([few, *others])[few.key].seeds
    assert (own.deviation, own.freedom) == (few.deviation, 1)
    assert moderated.freedom == 1 + gate.BORROWED_AT_MOST
    ratio = np.mean([(other.deviation / (other.flip_deviation or 1)) ** 2 for other in others])
    expected = (few.deviation**2 + 8 * ratio * (few.flip_deviation or 0) ** 2) / 9
    assert moderated.deviation**2 == pytest.approx(expected)
    assert noises([few, *(other.model_copy(update={"family": "zero-shot"}) for other in others)])[few.key].seeds == own


def test_one_seed_of_an_unknown_spread_can_be_judged_by_nothing() -> None:
    assert tolerance(0.0, 0.0, 100, 0.01, "seeds") == math.inf


def test_two_samples_are_within_chance_and_a_third_is_not_where_a_method_repeats_itself() -> None:
    right = np.ones((2, 100), bool)
    right[:, :50] = False
    before = row(right, repeatable=True)
    for n_lost, verdict in ((2, Verdict.HELD), (3, Verdict.FELL), (-3, Verdict.ROSE)):
        after = right[:1].copy()
        after[0, np.s_[50 : 50 + n_lost] if n_lost > 0 else np.s_[:-n_lost]] = n_lost < 0
        (judged,) = verdicts([before], [row(after, first_seed=7)])
        assert (judged.verdict, judged.basis) == (verdict, "exact"), n_lost


def test_a_figure_may_fall_a_little_however_sure_it_is() -> None:
    assert tolerance(0.0, math.inf, 100, 0.01, "exact") == 2 / 100
    assert tolerance(0.0, math.inf, 2400, 0.01, "exact") == pytest.approx(6 / 2400)
    assert tolerance(0.001, 10, 2400, 0.01, "reruns") == 0.01
    assert tolerance(0.01, 10, 2400, 0.01, "reruns") == pytest.approx(stats.t.ppf(0.99, 10) * 0.01)


def test_the_same_scores_are_the_same_however_few_seeds_are_run() -> None:
    right = np.random.default_rng(0).random((6, 50)) < np.linspace(0.2, 0.9, 6)[:, None]
    (judged,) = verdicts([row(right)], [row(right[:1])])
    assert (judged.verdict, judged.difference) == (Verdict.SAME, 0)


def test_another_figure_of_the_same_scores_is_compared() -> None:
    """Of a metric that changed, or another calibration."""
    before = row(np.random.default_rng(0).random((4, 200)) < 0.8)
    seeds = [seed.model_copy(update={"figures": {"top1": 0.1}}) for seed in before.seeds]
    now = before.model_copy(update={"seeds": tuple(seeds), "figures": {"top1": 0.1}})
    (judged,) = verdicts([before], [now])
    assert judged.verdict is Verdict.FELL
    assert judged.difference == pytest.approx(0.1 - before.figure)


@pytest.mark.parametrize("change", [{"method_version": 2}, {"settings": {"epochs": 9}}, {"task_hash": "other"}])
def test_reruns_of_another_version_are_no_noise(change: dict[str, Any]) -> None:
    right = np.random.default_rng(0).random((4, 200)) < 0.8
    with pytest.raises(UserError, match="the reruns are of another version"):
        with_reruns(row(right), row(~right, **change))
    measured = with_reruns(row(right), row(right))
    (kept,) = accepted(Baseline(rows=(measured,)), [row(right, **change)], "another version").rows
    assert kept.reruns is None


def test_measured_reruns_are_compared_seed_by_seed() -> None:
    generator = np.random.default_rng(0)
    right = generator.random((4, 200)) < np.linspace(0.5, 0.9, 4)[:, None]
    again = right.copy()
    again[np.arange(4), [3, 5, 7, 9]] ^= True
    before = with_reruns(row(right), row(again))
    assert before.reruns is not None
    assert before.reruns.pairs == 4
    assert before.reruns.deviation == pytest.approx(1 / 200)
    assert before.reruns.flip_deviation == pytest.approx(1 / 200)
    worse = right[:2] & (generator.random((2, 200)) > 0.06)
    (judged,) = verdicts([before], [row(worse)])
    assert (judged.verdict, judged.basis) == (Verdict.FELL, "reruns")
    assert judged.difference == pytest.approx((worse.mean(1) - right[:2].mean(1)).mean())
    assert judged.before == pytest.approx(right[:2].mean())
    assert judged.tolerance == pytest.approx(max(2 / 200, stats.t.ppf(1 - gate.FALSE_ALARMS, 4) / 200 / math.sqrt(2)))
    assert (judged.lost, judged.gained) == (pytest.approx((right[:2] & ~worse).sum(axis=1).mean()), 0)
    (by_seeds,) = verdicts([before], [row(worse)], only_seeds=True)
    assert (by_seeds.verdict, by_seeds.basis) == (Verdict.HELD, "seeds")
    (other_seeds,) = verdicts([before], [row(worse, first_seed=2)])
    assert other_seeds.basis == "reruns"
    assert verdicts([before], [row(worse, first_seed=9)])[0].basis == "seeds"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task_version": 2}, "version 2"),
        ({"task_hash": "other"}, "hash"),
        ({"data_fingerprints": {"toy": "g"}}, "fingerprint"),
        ({"data_fingerprints": {}}, "fingerprint none"),
        ({"samples": "t"}, "other test samples"),
    ],
)
def test_what_does_not_compare_is_refused(change: dict[str, object], words: str) -> None:
    right = np.random.default_rng(0).random((3, 50)) < 0.5
    (judged,) = verdicts([row(right)], [row(right, **change)])
    assert judged.verdict is Verdict.REFUSED
    assert words in judged.reason


def test_stale_jobs_do_not_stand_for_those_of_the_baseline(tmp_path: Path) -> None:
    store(tmp_path)
    (before,) = rows_of(list(stored_results(tmp_path)))
    store(tmp_path, skill=5.0, fingerprint="0" * 64)
    store(tmp_path, skill=5.0, limit=10)
    now = current_rows([before], list(stored_results(tmp_path)))
    assert verdicts([before], list(now.values()))[0].verdict is Verdict.SAME


@pytest.mark.parametrize("other", range(8))
def test_jobs_of_another_meaning_of_the_preset_do_not_stand_for_those_of_the_baseline(
    tmp_path: Path, other: int
) -> None:
    store(tmp_path, settings={"rate": 0})
    (before,) = rows_of(list(stored_results(tmp_path)))
    store(tmp_path, skill=0.0, settings={"rate": 1 + other})
    now = current_rows([before], list(stored_results(tmp_path)))
    assert verdicts([before], list(now.values()))[0].verdict is Verdict.SAME


# Accepting


def test_a_fall_is_accepted_with_a_reason_alone_and_the_reason_is_kept(tmp_path: Path) -> None:
    before = Baseline(rows=tuple(rows_of(store(tmp_path / "a", skill=0.6, n_test=400))))
    worse = rows_of(store(tmp_path / "b", skill=0.2, n_test=400))
    with pytest.raises(UserError, match=r"more than chance explains.*--allow-drop"):
        accepted(before, worse)
    (now,) = accepted(before, worse, "the sensor's clock was wrong").rows
    (drop,) = now.drops
    assert drop.reason == "the sensor's clock was wrong"
    assert drop.after < drop.before
    better = accepted(Baseline(rows=(now,)), rows_of(store(tmp_path / "c", skill=0.6, n_test=400)))
    assert better.rows[0].drops == (drop,)


def test_accepting_some_tasks_leaves_the_other_rows(tmp_path: Path) -> None:
    both = [*store(tmp_path), *store(tmp_path, name="other")]
    before = Baseline(rows=tuple(rows_of(both)))
    after = accepted(before, rows_of(store(tmp_path / "b", skill=0.7), "supervised/toy"))
    assert [each.task for each in after.rows] == [each.task for each in before.rows]
    assert [old == new for old, new in zip(before.rows, after.rows, strict=True)] == [True, False]


# Reports


def hostile() -> list[Judgement]:
    """A judgement of every kind, with names that every format has to escape."""
    generator = np.random.default_rng(0)
    right = generator.random((3, 200)) < 0.7
    rows = [row(right, f"{kind}<&\"'|\x07]]>", label="m [red](quick, a|b)") for kind in "abcdef"]
    now = {
        "a": rows[0],
        "b": row(generator.random((3, 200)) < 0.7, first_seed=3),
        "c": row(right & (generator.random((3, 200)) < 0.5)),
        "d": row(np.ones((3, 200), bool)),
        "e": row(right, task_version=2, method_version=2),
    }
    keyed = {rows[place].key: now[kind] for place, kind in enumerate("abcde")}
    return judge(rows, keyed, absent={rows[5].key: "no data & no <hope>"})


def test_every_verdict_is_in_the_summary() -> None:
    assert gate_report.summary(hostile()) == "6 rows: 1 same, 1 held, 1 fell, 1 rose, 1 refused, 1 missing"


def test_junit_is_well_formed_and_has_a_case_a_row() -> None:
    suites = ElementTree.fromstring(gate_report.junit(hostile()))  # noqa: S314 - our own
    (suite,) = suites
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "6",
        "1",
        "1",
        "1",
    )
    kinds = [[child.tag for child in case if child.tag != "system-out"] for case in suite]
    assert kinds == [[], [], ["failure"], [], ["error"], ["skipped"]]
    assert suite[0].get("classname") == "supervised/a<&\"'|?]]>@1[split=x]"
    assert "no data & no <hope>" in (suite[5].find("skipped").get("message") or "")  # type: ignore[union-attr]


def test_the_markdown_table_keeps_its_columns() -> None:
    lines = gate_report.markdown(hostile()).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 8
    assert {line.replace("\\|", "").count("|") for line in table} == {11}
    assert "**fell**" in table[4]


def test_the_table_shows_brackets_as_they_are() -> None:
    from rich.console import Console

    console = Console(width=400, file=io.StringIO())
    console.print(gate_report.table(hostile()))
    assert "m [red](quick, a|b)" in console.file.getvalue()  # type: ignore[attr-defined]


def test_json_has_no_number_that_json_has_not() -> None:
    json.dumps(gate_report.records(hostile()), allow_nan=False)


# How often it is right


def bits(record: dict[str, Any], side: str) -> np.ndarray:
    """bool (S, n), clips that each seed had right."""
    return np.stack([unpacked(text, record["n"]) for text in record[side]])


def measured_rows(
    record: dict[str, Any], first: np.ndarray, again: np.ndarray, now: np.ndarray, known_seeds: bool
) -> tuple[Row, Row]:
    """A baseline of the seeds ``first``, the leading ones of which were run ``again``, and its last ones as they are
    ``now``; unless ``known_seeds``, a baseline of the leading ones alone, without reruns."""
    name = record["task"].partition("@")[0].replace("/", "-")
    kind = {"family": record["family"], "synthetic": record["synthetic"]}
    current = row(now, name, first_seed=len(again), **kind)
    if not known_seeds:
        return row(first[: len(again)], name, **kind), current
    return with_reruns(row(first, name, **kind), row(again, name, **kind)), current


def simulated(
    generator: np.random.Generator, loss: str = "", known_seeds: bool = True, n_now: int = N_NOW
) -> list[Row]:
    """The rows that are said to have fallen, in one simulated check of all of them.

    The ``n_now`` seeds of the check are held out, so that their reruns are none that the noise was measured with. Which
    of the two roundings came first is drawn for each seed.
    """
    pairs = []
    for record in MEASURED:
        first, again = bits(record, "first"), bits(record, "again")
        swapped = generator.random(len(first)) < 0.5
        first[swapped], again[swapped] = again[swapped], first[swapped]
        order = generator.permutation(len(first))
        rest, held = order[:-n_now], order[-n_now:]
        now = again[held]
        if loss and record["synthetic"]:
            drawn = generator.random((1 if loss == "alike" else n_now, record["n"]))
            now = now & (drawn > LOSS / first.mean())
        pairs.append(measured_rows(record, first[order], again[rest], now, known_seeds))
    before, now_rows = zip(*pairs, strict=True)
    return [judged.row for judged in verdicts(before, now_rows) if judged.verdict is Verdict.FELL]


def shares_of(told: Sequence[Sequence[Row]]) -> dict[str, float]:
    """In what share of simulated checks each row fell, any of synthetic data, and any at all. Printed with Wilson
    intervals of 95%."""
    counts = Counter({"any": 0, "embedded": 0})
    for rows in told:
        names = {each.task for each in rows}
        names |= {"any"} if rows else set()
        names |= {"embedded"} if any(each.synthetic for each in rows) else set()
        counts.update(names)
    for name, count in counts.items():
        low, high = stats.binomtest(count, len(told)).proportion_ci(method="wilson")
        print(f"{name}: {count} of {len(told)}, {count / len(told):.1%} [{low:.1%}, {high:.1%}]")
    return {name: count / len(told) for name, count in counts.items()}


class TestSimulated:
    """On measured seeds and reruns; ``nox -s simulate`` shows the shares."""

    @pytest.mark.parametrize(
        ("known_seeds", "n_now"),
        [
            pytest.param(True, N_NOW, id="reruns"),
            pytest.param(False, 2, id="two other seeds"),
            pytest.param(
                False,
                1,
                id="one other seed",
                marks=pytest.mark.xfail(strict=True, reason="7.5 %, as docs/gate.md says"),
            ),
        ],
    )
    def test_a_rerun_without_a_change_rarely_fails(self, known_seeds: bool, n_now: int) -> None:
        generator = np.random.default_rng(0)
        told = [simulated(generator, known_seeds=known_seeds, n_now=n_now) for _ in range(SIMULATIONS)]
        assert shares_of(told)["any"] < 0.05

    @pytest.mark.parametrize(("loss", "n_now"), [("alike", N_NOW), ("alike", 2), ("by seed", 2)])
    def test_a_loss_of_three_points_on_the_embedded_set_is_caught(self, loss: str, n_now: int) -> None:
        generator = np.random.default_rng(1)
        told = [simulated(generator, loss=loss, n_now=n_now) for _ in range(SIMULATIONS)]
        assert shares_of(told)["embedded"] > 0.8
