"""``mmcl-bench plan``: every job with its state; nothing is run and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_in import Said

from mmcl_bench.core.text import duration

Type = Callable[..., Said]


def test_a_plan_shows_every_job_and_writes_nothing(typed: Type, tmp_path: Path) -> None:
    message = typed("plan zero-shot/nw-* --methods devise-joints,chance --splits all --seeds 4")
    assert message.code == 0
    assert "0-3" in message.out
    assert "10 jobs: 10 missing; 10 for which no similar job was timed" in message.out
    assert not list(tmp_path.iterdir())


def test_what_is_not_prepared_is_one_line_a_data_set(typed: Type) -> None:
    shown = typed("plan supervised/utkinect zero-shot/utkinect supervised/nw-ucla --method chance --seeds 3").out
    (line,) = [line for line in shown.splitlines() if "utkinect" in line]
    assert line.split()[:2] == ["utkinect", "6"]
    assert "supervised/nw-ucla@2[split=x-view]" in shown
    assert "9 jobs: 9 missing; 3 for which no similar job was timed; 6 cannot be run here" in shown


@pytest.mark.parametrize(
    ("method", "expected"),
    [("baseline/*", ["chance"]), ("chance,closed-form/*", ["chance", "devise", "devise-joints", "eszsl"])],
)
def test_a_kind_names_its_methods(method: str, expected: list[str], typed: Type) -> None:
    jobs = json.loads(typed(f"plan zero-shot/nw-ucla --method {method} --json").out)["jobs"]
    assert {job["method"] for job in jobs}.issuperset(expected)
    assert expected[0] == jobs[0]["method"]


def test_a_list_may_have_commas_or_be_given_in_parts(typed: Type) -> None:
    once = typed("plan zero-shot/nw-ucla --method chance,mmcl --splits 8/2,5/5 --preset quick,paper --json").out
    parts = "--method chance --method mmcl --splits 8/2 --splits 5/5 --preset quick --preset paper"
    assert once == typed(f"plan zero-shot/nw-ucla {parts} --json").out
    streams = json.loads(typed("plan supervised/nw-ucla --streams joint --streams bone --json").out)["jobs"]
    assert [job["settings"]["streams"] for job in streams] == [["joint"], ["bone"]]


def test_a_kind_keeps_the_methods_of_a_suite_that_it_names(typed: Type) -> None:
    jobs = json.loads(typed("plan --suite embedded --method network/* --seeds 1 --json").out)["jobs"]
    assert {job["method"] for job in jobs} == {"mmcl", "skeleton-only"}
    refused = typed("plan --suite embedded --method vae/* --seeds 1")
    assert refused.code == 2
    assert "unknown method of suite embedded" in refused.err


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (["text=minilm,clip:ViT-B-32"], ["", ",text=clip:ViT-B-32"]),
        (["text=smollm2[pooling=last,layer=3],minilm"], [",text=smollm2[layer=3,pooling=last]", ""]),
        (["text=smollm2,smollm2[pooling=mean]"], [",text=smollm2"]),
        (
            ["text=minilm,smollm2", "fields=label,name"],
            [",fields=label", ",fields=name", ",fields=label,text=smollm2", ",fields=name,text=smollm2"],
        ),
    ],
)
def test_several_values_of_a_parameter_are_a_task_each(typed: Type, values: list[str], named: list[str]) -> None:
    given = " ".join(f"--parameter {value}" for value in values)
    message = json.loads(typed(f"plan zero-shot/nw-ucla --split 8/2 --method devise --json {given}").out)
    ends = [job["task"].partition("split=8/2")[2].removesuffix("]") for job in message["jobs"]]
    assert ends == named


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text=minilm,minlm", "unknown encoder 'minlm'. Did you mean minilm"),
        ("text=", "unknown encoder ''"),
        ("text=minilm,smollm2[layer=2", "text=minilm,smollm2[layer=2: its square brackets do not pair"),
        ("text=minilm,smollm2[layer=deep]", "option layer=deep: Input should be a valid integer"),
        ("text=efficientnet-lite0", "encodes images, not text"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_runs(typed: Type, value: str, words: str) -> None:
    message = typed(f"run zero-shot/nw-ucla --split 8/2 --method devise --parameter {value}")
    assert (message.code, message.out) == (2, "")
    assert words in message.err
    assert len(message.err.splitlines()) == 1


def test_a_plan_follows_what_run_did(typed: Type) -> None:
    same = "supervised/nw-ucla --split x-sub --method chance,logistic --limit 30"
    assert typed(f"run {same} --seeds 1").code == 0
    message = json.loads(typed(f"plan {same} --seeds 2 --json").out)
    assert [(job["method"], job["seed"], job["state"]) for job in message["jobs"]] == [
        ("chance", 0, "done"),
        ("chance", 1, "missing"),
        ("logistic", 0, "done"),
    ]
    assert message["totals"]["jobs"] == 3
    assert message["totals"]["done"] == 2
    assert message["totals"]["unknown"] == 0
    assert set(message["jobs"][0]) == {
        *(
            "task",
            "method",
            "preset",
            "seed",
            "limit",
            "state",
            "why",
            "seconds",
            "unready",
            "settings",
            "job",
            "folder",
        )
    }


def test_what_cannot_run_here_is_counted_apart(typed: Type) -> None:
    line = "plan supervised/nw-ucla supervised/utkinect --method chance"
    assert "2 jobs: 2 missing; 1 for which no similar job was timed; 1 cannot be run here" in typed(line).out
    unready = [job["unready"] for job in json.loads(typed(f"{line} --json").out)["jobs"]]
    assert any("mmcl-bench data prepare utkinect" in why for why in unready)


def test_settings_that_differ_from_the_preset_are_shown(typed: Type) -> None:
    message = typed("plan supervised/nw-ucla --preset quick,paper --streams joint,bone --limit 9 --set epochs=2")
    for name in ("mmcl[streams=joint,epochs=2,limit=9]", "mmcl[streams=bone,epochs=2,limit=9]"):
        assert name in message.out
    assert "mmcl (paper)[" in message.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plan", "name what to run"),
        ("plan zero-shot/nw-ucla --method devis", "unknown method 'devis'. Did you mean devise"),
        ("plan zeroshot", "unknown task 'zeroshot'"),
        ("plan zero-shot/* --splits 55/6", "no task like this has a split 55/6"),
        ("plan zero-shot/* --splits 55/5,55/6", "no task here has a split 55/6"),
        ("plan zero-shot --split 55/5 --splits all", "--split and --splits both name the split"),
        ("plan zero-shot/* --dataset nw-ucla", "leave out --dataset"),
        ("plan --suite embeded", "unknown suite 'embeded'. Did you mean embedded"),
        ("plan --suite embedded --set epochs=2", "leave out --set"),
        ("plan zero-shot --suite embedded", "leave out a task"),
        (
            "plan --suite embedded --methods devise-joints,mcml",
            "unknown method of suite embedded 'mcml'. Did you mean mmcl",
        ),
        ("plan supervised/nw-ucla --methods ,", "at least one task, one method and one preset"),
        ("plan supervised/nw-ucla --method chance --streams joint", "has no skeleton streams"),
        ("plan supervised/nw-ucla --set epochs", "--set epochs: expected key=value"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(typed: Type, line: str, message: str) -> None:
    found = typed(line)
    assert found.code == 2
    assert found.out == ""
    assert message in found.err
    assert len(found.err.splitlines()) == 1


def test_a_suite_can_be_narrowed(typed: Type) -> None:
    message = json.loads(typed("plan --suite embedded --methods chance --seeds 1 --limit 7 --json").out)
    assert {(job["method"], job["seed"], job["limit"]) for job in message["jobs"]} == {("chance", 0, 7)}
    assert {job["task"].split("@")[0] for job in message["jobs"]} == {"zero-shot/synth60", "supervised/synth60"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (45, "45 s"), (600, "10 min"), (5400, "1.5 h"), (200_000, "2.3 days")]
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
