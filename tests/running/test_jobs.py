"""A job's hash names what decides its numbers, and nothing else."""

from __future__ import annotations

import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.seeds import derive_seed
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.running.jobs import make_job

TASK = load_task("supervised/nw-ucla")
MMCL = METHODS.get("mmcl")


def test_equal_jobs_have_equal_hashes_and_folders() -> None:
    one, other = make_job(TASK, MMCL, 0), make_job(load_task("supervised/nw-ucla[split=x-view]"), MMCL, 0)
    assert (one.hash, one.folder) == (other.hash, other.folder)


def test_an_override_with_the_preset_s_own_value_changes_nothing() -> None:
    epochs = str(MMCL.presets["quick"].as_json()["epochs"])
    assert make_job(TASK, MMCL, 0, overrides={"epochs": epochs}).hash == make_job(TASK, MMCL, 0).hash


@pytest.mark.parametrize("text", ["1", "1.0", '"1"'])
def test_a_value_is_one_job_however_it_is_written(text: str) -> None:
    job = make_job(TASK, MMCL, 0, overrides={"clip_norm": text})
    assert job.hash == make_job(TASK, MMCL, 0, overrides={"clip_norm": "1e0"}).hash


@pytest.mark.parametrize(
    ("method", "preset", "start"),
    [
        ("chance", "quick", "f17e8873b2f4bee0"),
        ("chance", "paper", "cf653fe1d11cb507"),
        ("logistic", "quick", "a68aba1df2d4567b"),
        ("logistic", "paper", "acb7b7510d6d75ea"),
        ("mmcl", "quick", "b96ec6ff4c937249"),
        ("mmcl", "paper", "16d0db705b1a1442"),
        ("skeleton-only", "quick", "92d234fecaf78735"),
        ("skeleton-only", "paper", "511b651303e63bbb"),
    ],
)
def test_jobs_of_the_presets_keep_their_hashes_and_so_their_seeds(method: str, preset: str, start: str) -> None:
    """Those of jobs that are stored; another hash is another seed, and another figure."""
    assert make_job(load_task("supervised/synth60"), METHODS.get(method), 0, preset).hash.startswith(start)


@pytest.mark.parametrize("text", ["0", "many", "true", "1.5"])
def test_a_value_of_another_type_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"method mmcl: setting epochs=.*") as caught:
        make_job(TASK, MMCL, 0, overrides={"epochs": text})
    assert "\n" not in str(caught.value)


def test_whatever_decides_a_number_changes_the_hash() -> None:
    jobs = [
        make_job(TASK, MMCL, 0),
        make_job(TASK, MMCL, 1),
        make_job(TASK, MMCL, 0, preset="paper"),
        make_job(TASK, MMCL, 0, overrides={"epochs": "3"}),
        make_job(TASK, MMCL, 0, limit=20),
        make_job(TASK, METHODS.get("skeleton-only"), 0),
        make_job(load_task("supervised/nw-ucla[split=x-sub]"), MMCL, 0),
    ]
    assert len({job.hash for job in jobs}) == len(jobs)


def test_seeds_of_two_purposes_differ() -> None:
    assert derive_seed("job", "weights") != derive_seed("job", "order")
    assert derive_seed("job", "weights") == derive_seed("job", "weights")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "quik"}, "Did you mean quick"),
        ({"overrides": {"epoch": "3"}}, "Did you mean epochs"),
        ({"overrides": {"epochs": "many"}}, "setting epochs=many: Input should be a valid integer"),
        ({"overrides": {"optimizer": "adam"}}, "setting optimizer=adam: Input should be 'sgd' or 'adamw'"),
        ({"overrides": {"streams": '["joint", "bones"]'}}, "setting streams.1=bones"),
        ({"overrides": {"batch_size": "0"}}, "setting batch_size=0"),
        ({"limit": 0}, "at least 1 clip"),
        ({"seed": -1}, "seeds start at 0"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_job(TASK, MMCL, **{"seed": 0, **arguments})  # type: ignore[arg-type]


def test_a_method_that_cannot_do_the_task_says_which_it_can() -> None:
    with pytest.raises(UserError, match="method devise-joints works on other tasks than supervised: zero-shot"):
        make_job(TASK, METHODS.get("devise-joints"), 0)


def test_a_setting_put_back_to_its_default_is_told_where_the_preset_has_another() -> None:
    job = make_job(TASK, MMCL, 0, preset="strong", overrides={"average": "0"})
    assert job.overrides == {"average": 0.0}
    assert make_job(TASK, MMCL, 0, preset="strong").overrides == {}
    assert make_job(TASK, MMCL, 0, preset="strong", overrides={"average": "0.99"}).overrides == {}
