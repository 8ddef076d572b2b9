"""``mmcl-bench run`` of many jobs: failures are named at the end, skipped next time, and run again when asked to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typing_in import Said

from failing import failing

Type = Callable[..., Said]
METHODS = ["chance", "failing"]
MATRIX = f"run supervised/nw-ucla --split x-sub --method {','.join(METHODS)} --seeds 3"


def test_a_failing_job_stops_no_other_and_the_exit_code_is_1(typed: Type) -> None:
    with failing(1) as method:
        first = typed(MATRIX)
        assert first.code == 1
        assert "failing, seed 1: failed: ValueError: the third layer is missing (5 of 6)" in first.err
        assert "failing, seed 2: done" in first.err
        assert "mmcl-bench: no result of 1 of 6 jobs:" in first.err
        assert first.err.splitlines()[-1] == (
            "  supervised/nw-ucla@2[split=x-sub], failing, seed 1: ValueError: the third layer is missing"
        )

        again = typed(MATRIX)
        assert again.code == 1
        assert method.fits == 3, "what failed before is skipped"
        assert "failed before, and is tried again with --retry-failed" in again.err

        retried = typed(f"{MATRIX} --retry-failed --json")
        assert retried.code == 0
        assert method.fits == 4
        records = json.loads(retried.out)
        assert {record["method"]: record["seeds"] for record in records} == {name: [0, 1, 2] for name in METHODS}

        assert typed(MATRIX).code == 0
        assert method.fits == 4, "what is stored is not run again"


def test_results_of_those_that_ran_are_json_though_others_failed(typed: Type) -> None:
    with failing(0):
        message = typed("run supervised/nw-ucla --method failing --seeds 2 --json")
    assert message.code == 1
    assert [record["seeds"] for record in json.loads(message.out)] == [[1]]


def test_several_tasks_are_told_apart(typed: Type) -> None:
    message = typed("run supervised/nw-ucla supervised/utd-mhad --method chance")
    assert message.code == 0
    assert "supervised/nw-ucla@2[split=x-view], chance, seed 0: done" in message.err
    assert "supervised/utd-mhad@1[split=x-sub], chance, seed 0: done" in message.err


def test_several_values_of_a_setting_are_jobs_of_their_own(typed: Type) -> None:
    message = typed("run supervised/nw-ucla --method logistic --set normalise=root,root+facing+scale,none,root")
    assert message.code == 0
    assert message.err.count(": done") == 3
    for shown in ("logistic, seed 0", "logistic[normalise=none], seed 0", "logistic[normalise=root], seed 0"):
        assert f"{shown}: done" in message.err


def test_tasks_without_their_data_fail_alone(typed: Type) -> None:
    message = typed("run supervised/nw-ucla supervised/utkinect --method chance")
    assert message.code == 1
    assert "mmcl-bench data prepare utkinect" in message.err
    assert "chance" in message.out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run supervised/nw-ucla --methods chance,logistik", "unknown method 'logistik'. Did you mean logistic"),
        ("run supervised/nw-ucla --method chance --engine slrm", "unknown engine 'slrm'. Did you mean slurm"),
        ("run supervised/nw-ucla --method chance --engine-option cpus=2", "engine local: unknown option 'cpus'"),
        ("run supervised/nw-ucla --method chance --engine-option cpus", "expected key=value"),
        ("run supervised/utkinect --method chance --seeds 2", "mmcl-bench data prepare utkinect"),
        ("run supervised/nw-ucla --method logistic --set C=-1", "setting C=-1: Input should be greater than 0"),
        ("run supervised/nw-ucla --method logistic --limit 1", "needs training clips of two classes; raise --limit"),
        (
            "run zero-shot/nw-ucla --method devise-joints --set penalties=[]",
            "setting penalties=[]: Tuple should have at least 1 item",
        ),
        (
            "run zero-shot/nw-ucla --method devise-joints --limit 1",
            "too few clips to hold out for choosing; raise",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(typed: Type, line: str, message: str) -> None:
    found = typed(line)
    assert found.code == 2
    assert found.out == ""
    *before, last = found.err.splitlines()
    assert message in last
    assert all(line.startswith("runs 1 job on ") for line in before)


def test_a_run_says_first_what_it_will_do_and_about_how_long(typed: Type) -> None:
    line = "run supervised/nw-ucla supervised/utkinect --method chance --device cpu --threads 1"
    first = typed(line).err.splitlines()
    opening = "runs 1 of 2 jobs on cpu with 1 thread; no similar job was timed"
    assert first[0] == f"{opening}, but a few hundred clips take seconds for chance"
    assert first[1] == "cannot run 1 job, whose data are not prepared: utkinect"
    second = typed(f"{line} --seeds 2").err.splitlines()
    assert second[1].startswith("runs 1 of 4 jobs on cpu with 1 thread; takes about ")
    assert second[2] == "cannot run 2 jobs, whose data are not prepared: utkinect"


def test_a_single_job_that_is_stored_announces_nothing(typed: Type) -> None:
    line = "run supervised/nw-ucla --method chance"
    assert typed(line).err.startswith("runs 1 job on ")
    assert typed(line).err.startswith("chance, seed 0: stored result of ")
    assert typed(f"{line} --fresh").err.startswith("runs 1 job on ")


def test_a_transfer_says_first_how_many_classes_and_test_clips_it_has(
    typed: Type, transfer_data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCL_BENCH_DATA", str(transfer_data_root))
    ran = typed("run transfer --source nw-ucla --target utd-mhad --method chance --json")
    (record,) = json.loads(ran.out)
    told = re.search(
        r"^transfer/nw-ucla-to-utd-mhad@\d: (\d+) classes shared, (\d+) test clips$", ran.err, re.MULTILINE
    )
    assert told is not None
    assert int(told[2]) == record["n_test"]
    result = json.loads((Path(record["folders"][0]) / "result.json").read_text())
    assert int(told[1]) == len(result["classes"])


def test_several_tasks_are_summed_up_and_detailed_on_request(typed: Type) -> None:
    line = "run supervised/nw-ucla supervised/utd-mhad --method chance,logistic"
    summary = typed(line).out
    assert re.search(r"^method +nw-ucla x-view +utd-mhad x-sub +mean$", summary, re.MULTILINE)
    assert re.search(r"^logistic \(quick\) +[\d.]+\* +[\d.]+\* +[\d.]+$", summary, re.MULTILINE)
    details = typed(f"{line} --details").out
    assert details.count("percent, with 95% intervals over test samples") == 2


def test_a_suite_file_runs(typed: Type, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text('title = "mine"\n[[matrix]]\ntasks = ["*/nw-ucla"]\nmethods = ["chance"]\nseeds = 1\n')
    message = typed(f"run --suite {suite}")
    assert message.code == 0
    assert message.err.count(": done") == 2


def test_a_suite_of_own_sets_that_are_not_prepared_is_refused(typed: Type, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text('title = "mine"\n[[matrix]]\nown_set = "ours"\ntasks = ["*/ours"]\nmethods = ["chance"]\n')
    message = typed(f"run --suite {suite}")
    assert message.code == 2
    assert "leaves out ours, which is not prepared" in message.err
    assert "has nothing to run" in message.err.splitlines()[-1]


def test_a_suite_fuses_members_that_it_runs_as_well(typed: Type, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        'title = "mine"\n[[matrix]]\ntasks = ["supervised/nw-ucla"]\nmethods = ["chance"]\nseeds = 1\n'
        '[[fusion]]\ntasks = ["supervised/nw-ucla"]\nmembers = ["logistic", "chance"]\nscale = "softmax"\nseeds = 2\n'
    )
    message = typed(f"run --suite {suite} --json")
    assert message.code == 0
    seeds = {record["method"]: record["seeds"] for record in json.loads(message.out)}
    assert seeds == {"chance": [0, 1], "logistic": [0], "fusion": [0, 1]}
    assert "fusion" in typed(f"run --suite {suite}").out
    alone = json.loads(typed(f"run --suite {suite} --methods chance --json").out)
    assert [record["method"] for record in alone] == ["chance"]


def test_methods_on_features_say_that_their_extractor_is_trained_first(typed: Type) -> None:
    line = "run zero-shot/nw-ucla --method chance,devise-joints,devise --device cpu --threads 1 --limit 1"
    assert typed(line).err.splitlines()[0] == (
        "runs 3 jobs on cpu with 1 thread; no similar job was timed, but a few hundred clips take seconds for chance, "
        "devise-joints, devise, and minutes to train their extractor if it is new"
    )
