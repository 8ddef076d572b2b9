"""A matrix is every fitting method under every task and split, over seeds; a suite is a file of them."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import fold_number
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.cards import FAMILIES
from mmcl_bench.protocols.catalogue import find_task, load_task
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.suites import Matrix, Suite, load_suite, suite_names

DOCS = Path(__file__).parents[2] / "docs"
SMALL = ("hdm05", "msr-action3d", "nw-ucla", "utd-mhad", "utkinect")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "no-data"


def identities(matrix: Matrix, root: Path) -> list[str]:
    return list(dict.fromkeys(job.task.identity for job in matrix.jobs(root)))


def test_the_packaged_suites_name_tasks_and_methods_that_exist(root: Path) -> None:
    assert suite_names() == [*("embedded", "gate", "leave-one-out", "published", "small-real", "transfer-pairs")]
    for name in suite_names():
        jobs = load_suite(name).jobs(root)
        assert len({job.hash for job in jobs}) == len(jobs) > 10
    assert {name for job in load_suite("embedded").jobs(root) for name in job.task.datasets} == {"synth60"}
    assert "synth60" not in {name for job in load_suite("small-real").jobs(root) for name in job.task.datasets}


def test_suites_of_transfer_hold_every_pair_that_is_one(root: Path) -> None:
    pairs = set()
    for source, target in permutations(SMALL, 2):
        with suppress(UserError):
            pairs.add(find_task("transfer", target, source, {}, root).identity)
    assert {job.task.identity for job in load_suite("transfer-pairs").jobs(root)} == pairs
    assert len(pairs) == 14
    left_out = {(job.task.datasets, job.task.by_texts) for job in load_suite("leave-one-out").jobs(root)}
    assert left_out == {
        ((*sorted({*SMALL} - {target}), target), by_texts) for target in SMALL for by_texts in (False, True)
    }


def test_the_gate_has_a_method_of_each_kind_and_its_baseline_a_row_of_each(root: Path) -> None:
    jobs = load_suite("gate").jobs(root)
    kinds = {(job.task.card.family, METHODS.get(job.method).kind) for job in jobs}
    assert {kind for family, kind in kinds if family == "zero-shot"} == {
        *("closed-form", "embedding", "pair-scorer", "vae", "generator", "network")
    }
    assert {kind for family, kind in kinds if family == "transfer"} == {"optimal-transport", "adversarial"}
    rows = json.loads((DOCS.parent / "results" / "baseline.json").read_text())["rows"]
    accepted = [[row["task"], row["task_hash"], row["method"], row["method_version"], row["overrides"]] for row in rows]
    wanted = [[job.task.identity, job.task.hash, job.method, job.method_version, job.overrides] for job in jobs]
    assert {json.dumps(row, sort_keys=True) for row in accepted} == {json.dumps(row, sort_keys=True) for row in wanted}


def test_the_published_suite_has_every_method_on_whole_divisions_of_the_classes(root: Path) -> None:
    jobs = load_suite("published").jobs(root)
    folds = {
        job.task.split: job.task
        for job in jobs
        if job.task.card.path == "zero-shot/utd-mhad" and fold_number(job.task.split)
    }
    unseen = [label for task in folds.values() for label in task.zero_shot_split.unseen]
    assert sorted(unseen) == sorted(5 * list(range(27)))
    of_family = {
        family: {name for name in METHODS.names() if family in METHODS.get(name).families} for family in FAMILIES
    }
    on_folds = {job.method for job in jobs if fold_number(job.task.split)}
    assert of_family["zero-shot"] - on_folds == {"skeleton-only", "pgfa-end-to-end"}
    assert {job.method for job in jobs if job.task.split in ("22/5", "5/5")} == of_family["zero-shot"]
    assert {job.method for job in jobs if job.task.method_family == "transfer"} == of_family["transfer"]
    pairs = {job.task.identity for job in load_suite("transfer-pairs").jobs(root)}
    assert {job.task.identity for job in jobs if job.method == "coral"} == pairs
    assert {name for job in jobs for name in job.task.datasets} == {*SMALL, "synth60"}


def test_a_matrix_on_a_set_of_ones_own_is_left_out_where_it_is_not_prepared(root: Path) -> None:
    matrix = {"own_set": "ours", "tasks": ["supervised/ours"], "methods": ["all"], "seeds": 1}
    always = {"tasks": ["supervised/nw-ucla"], "methods": ["logistic"], "seeds": 1}
    suite = Suite.model_validate({"title": "ours", "cost": "an hour", "matrix": [matrix, always]})
    assert {job.task.card.path for job in suite.jobs(root)} == {"supervised/nw-ucla"}
    assert {job.method for job in suite.with_methods(["logistic"], "ours", root).jobs(root)} == {"logistic"}
    assert suite.remarks(root) == [
        "all of it: an hour",
        "leaves out ours, which is not prepared; mmcl-bench data prepare custom prepares it",
    ]


def test_the_suite_of_the_docs_is_one(root: Path, tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(title = .*?)```", (DOCS / "running.md").read_text(), flags=re.DOTALL)
    (tmp_path / "nightly.toml").write_text(text)
    jobs = load_suite(str(tmp_path / "nightly.toml")).jobs(root)
    assert {job.method for job in jobs} == {"mmcl", "devise-joints"}
    assert {job.task.split for job in jobs if job.method == "devise-joints"} == {"8/2", "5/5", "14/13", "18/9", "22/5"}


def test_jobs_are_those_that_one_would_make_one_by_one(root: Path) -> None:
    settings = {"epochs": 3, "streams": ["joint", "bone"], "backbone": "st-gcn", "fam": False}
    jobs = Matrix(tasks=("supervised/nw-ucla",), methods=("mmcl",), seeds=2, settings=settings, limit=9).jobs(root)
    texts = {"epochs": "3", "streams": "joint+bone", "backbone": "st-gcn", "fam": "false"}
    task = load_task("supervised/nw-ucla")
    assert [job.hash for job in jobs] == [
        make_job(task, METHODS.get("mmcl"), seed, "quick", texts, 9).hash for seed in (0, 1)
    ]


def test_several_values_of_a_parameter_are_a_task_each(root: Path) -> None:
    matrix = Matrix(tasks=("zero-shot/nw-ucla[split=8/2]",), methods=("devise",), parameters={"text": "minilm,smollm2"})
    found = identities(matrix, root)
    assert [name.partition("@")[2].partition("[")[2] for name in found] == ["split=8/2]", "split=8/2,text=smollm2]"]


def test_methods_go_with_the_families_that_they_fit(root: Path) -> None:
    jobs = Matrix(tasks=("*/nw-ucla",), methods=("devise-joints", "logistic", "chance"), seeds=1).jobs(root)
    assert {(job.task.card.family, job.method) for job in jobs} == {
        ("supervised", "logistic"),
        ("supervised", "chance"),
        ("zero-shot", "devise-joints"),
        ("zero-shot", "chance"),
    }


def test_seeds_are_those_of_the_card_when_not_given(root: Path) -> None:
    jobs = Matrix(tasks=("zero-shot/nw-ucla",), methods=("chance",)).jobs(root)
    assert [job.seed for job in jobs] == list(range(load_task("zero-shot/nw-ucla").card.seeds))


def test_a_deterministic_method_has_one_seed(root: Path) -> None:
    jobs = Matrix(tasks=("supervised/nw-ucla",), methods=("logistic", "chance"), seeds=3).jobs(root)
    assert [(job.method, job.seed) for job in jobs] == [("logistic", 0), *(("chance", seed) for seed in range(3))]


def test_splits_are_all_some_or_the_tasks_own(root: Path) -> None:
    every = {"tasks": ("supervised/nw-ucla",), "methods": ("chance",), "seeds": 1}
    assert identities(Matrix(**every, splits="all"), root) == [
        f"supervised/nw-ucla@2[split={split}]" for split in load_task("supervised/nw-ucla").card.splits
    ]
    assert identities(Matrix(**every, splits=("x-sub",)), root) == ["supervised/nw-ucla@2[split=x-sub]"]
    assert identities(Matrix(**every), root) == [load_task("supervised/nw-ucla").identity]


def test_folds_are_one_name_and_not_among_all(root: Path) -> None:
    every = {"tasks": ("zero-shot/nw-ucla",), "methods": ("chance",), "seeds": 1}
    folds = [f"zero-shot/nw-ucla@3[split=8/2:fold-{number}]" for number in range(1, 26)]
    assert identities(Matrix.model_validate({**every, "splits": "folds"}), root) == folds
    assert identities(Matrix(**every, splits=("folds",)), root) == folds
    assert set(identities(Matrix(**every, splits="all"), root)).isdisjoint(folds)


def test_all_splits_of_a_task_without_any_is_the_task(root: Path) -> None:
    matrix = Matrix(tasks=("transfer/nw-ucla-to-utd-mhad",), methods=("chance",), splits="all", seeds=1)
    assert identities(matrix, root) == ["transfer/nw-ucla-to-utd-mhad@3"]


def test_under_a_pattern_tasks_without_the_split_are_left_out(root: Path) -> None:
    matrix = Matrix(tasks=("supervised/*",), methods=("chance",), splits=("x-view",), seeds=1)
    found = identities(matrix, root)
    assert "supervised/nw-ucla@2[split=x-view]" in found
    assert not [identity for identity in found if "hdm05" in identity]
    bracketed = Matrix(tasks=("supervised/*[split=x-view]",), methods=("chance",), seeds=1)
    assert identities(bracketed, root) == found


def test_a_matrix_names_no_job_twice(root: Path) -> None:
    tasks = ("zero-shot/nw-ucla", "zero-shot/nw-ucla[split=8/2]", "zero-shot/nw-*")
    matrix = Matrix(tasks=tasks, methods=("chance", "chance"), seeds=2)
    assert len(matrix.jobs(root)) == 2
    assert len(Suite(title="twice", matrix=(matrix, matrix)).jobs(root)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ("zero-shot/nw-ucls",)}, "unknown task 'zero-shot/nw-ucls'. Did you mean"),
        ({"tasks": ("zeroshot/*",)}, "unknown task 'zeroshot/\\*'"),
        ({"tasks": ("zero-shot/nw-*[8/2]",)}, "'8/2' in the brackets is not key=value"),
        ({"methods": ("devis",)}, "unknown method 'devis'. Did you mean devise"),
        ({"methods": ("logistic",)}, "method logistic works on other tasks than zero-shot"),
        ({"methods": ("chance", "logistic")}, "method logistic works on other tasks than zero-shot"),
        ({"presets": ("papre",)}, "unknown preset 'papre'"),
        ({"splits": ("8/3",)}, "8/3"),
        ({"tasks": ("zero-shot/*",), "splits": ("55/5", "55/6")}, "no task here has a split 55/6"),
        ({"tasks": ("zero-shot/*",), "splits": ("55/6",)}, "no task like this has a split 55/6"),
        ({"settings": {"epoch": 3}}, "unknown setting 'epoch'"),
        ({"parameters": {"txt": "minilm"}}, "txt"),
    ],
)
def test_what_does_not_exist_is_one_line(changes: dict[str, Any], message: str, root: Path) -> None:
    matrix = Matrix(**{"tasks": ("zero-shot/nw-ucla",), "methods": ("chance",), "seeds": 1, **changes})
    with pytest.raises(UserError, match=message) as error:
        matrix.jobs(root)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not a readable suite"),
        ("title = 1" + "0" * 5000, "not a readable suite"),
        ('title = "x"', "matrix: Field required"),
        ('title = "x"\nmatrix = []', "matrix"),
        ('title = "x"\n[[matrix]]\ntasks = ["zero-shot/*"]', "matrix.0.methods: Field required"),
        ('title = "x"\n[[matrix]]\ntasks = []\nmethods = ["chance"]', "matrix.0.tasks"),
        ('title = "x"\n[[matrix]]\ntasks = ["a"]\nmethods = ["b"]\nseeds = 0', "matrix.0.seeds"),
        ('title = "x"\n[[matrix]]\ntasks = ["a"]\nmethods = ["b"]\nsplit = "all"', "matrix.0.split"),
        ('title = "x"\n[[matrix]]\ntasks = ["a"]\nmethods = ["b"]\nsplits = "some"', "matrix.0.splits"),
        ('title = "x"\n[[matrix]]\ntasks = ["a"]\nmethods = ["b"]\nsettings = { a = 2020-01-01 }', "matrix.0.settings"),
    ],
)
def test_a_wrong_suite_file_is_one_line_with_the_field(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        load_suite(str(tmp_path / "mine.toml"))
    assert str(tmp_path / "mine.toml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_suite_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown suite 'embeded'\. Did you mean embedded"):
        load_suite("embeded")
    with pytest.raises(UserError, match="not a readable suite"):
        load_suite(str(tmp_path / "none.toml"))


def test_all_and_kinds_name_the_methods_that_fit(root: Path) -> None:
    def methods(task: str, *named: str) -> list[str]:
        jobs = Matrix(tasks=(task,), methods=named, seeds=1).jobs(root)
        return list(dict.fromkeys(job.method for job in jobs))

    fitting = {name for name in METHODS.names() if "zero-shot" in METHODS.get(name).families}
    assert set(methods("zero-shot/nw-ucla", "all")) == fitting
    assert methods("zero-shot/nw-ucla", "chance", "vae/*", "cada-vae") == [
        *("chance", "cada-vae", "fs-vae", "msf", "sa-dvae", "synse")
    ]
    assert methods("zero-shot/nw-ucla", "vae/s*") == ["sa-dvae", "synse"]
    assert methods("supervised/nw-ucla", "baseline/*") == ["chance", "logistic"]
    assert "logistic" not in methods("zero-shot/nw-ucla", "baseline/*")


@pytest.mark.parametrize(("task", "pattern"), [("zero-shot/nw-ucla", "vea/*"), ("supervised/nw-ucla", "vae/*")])
def test_an_unknown_kind_is_one_line_with_the_kinds(task: str, pattern: str, root: Path) -> None:
    with pytest.raises(UserError, match=r"patterns are kind/name.*Kinds: .*network") as error:
        Matrix(tasks=(task,), methods=(pattern,)).jobs(root)
    assert "\n" not in str(error.value)


def planned(root: Path, *methods: str, task: str = "zero-shot/nw-ucla", **settings: Any) -> list[tuple[str, Any]]:
    """Method and what differs from its preset of each job of a matrix."""
    jobs = Matrix(tasks=(task,), methods=methods, seeds=1, settings=settings).jobs(root)
    return [(job.method, {**job.overrides, **({"preset": "paper"} if job.preset == "paper" else {})}) for job in jobs]


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["devise", "mmcl[epochs=2]"], [("devise", {}), ("mmcl", {"epochs": 2})]),
        (["mmcl", "mmcl[epochs=2]", "mmcl"], [("mmcl", {}), ("mmcl", {"epochs": 2})]),
        (["devise[draws=1,2]"], [("devise", {"draws": 1}), ("devise", {"draws": 2})]),
        (["devise[penalties=[1,10],draws=1]"], [("devise", {"penalties": [1.0, 10.0], "draws": 1})]),
        (["devise[preset=paper]"], [("devise", {"preset": "paper"})]),
        (["devise[preset=quick,paper]"], [("devise", {}), ("devise", {"preset": "paper"})]),
        (
            ['prototypes[base_settings={"draws":1,"steps":9}]'],
            [("prototypes", {"base": "pgfa", "base_settings": {"draws": 1, "steps": 9}})],
        ),
        (["closed-form/*[draws=1]"], [("devise", {"draws": 1}), ("devise-joints", {}), ("eszsl", {"draws": 1})]),
    ],
)
def test_settings_of_a_method_are_in_its_brackets(methods: list[str], expected: list[Any], root: Path) -> None:
    assert planned(root, *methods) == expected


def test_a_setting_goes_to_the_methods_that_know_it(root: Path) -> None:
    jobs = planned(root, "chance", "devise[draws=2]", "eszsl", draws=1)
    assert jobs == [("chance", {}), ("devise", {"draws": 2}), ("eszsl", {"draws": 1})]


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (["devise[drawz=1]"], {}, r"method devise: unknown setting 'drawz'. Did you mean draws"),
        (["devise[draws=1"], {}, "square brackets do not pair"),
        (["devise[1]"], {}, "'1' in the brackets is not key=value"),
        (["vae/*[penalties=[1]]"], {}, r"vae/\*\[penalties=\[1\]\]: none of the methods .* has it: unknown setting"),
        (["chance", "devise"], {"draw": 1}, "none of the methods chance, devise has it: unknown setting 'draw'. Did"),
    ],
)
def test_a_setting_that_no_method_has_is_one_line(
    methods: list[str], settings: dict[str, Any], message: str, root: Path
) -> None:
    with pytest.raises(UserError, match=message) as error:
        planned(root, *methods, **settings)
    assert "\n" not in str(error.value)


def suite(*matrices: dict[str, Any]) -> Suite:
    return Suite(title="", matrix=tuple(Matrix(seeds=1, **each) for each in matrices))


def test_a_suite_takes_a_method_that_it_does_not_list(root: Path) -> None:
    jobs = load_suite("transfer-pairs").with_methods(["coral[Cs=[1]]"], "transfer-pairs", root).jobs(root)
    assert {(job.method, tuple(job.settings["Cs"])) for job in jobs} == {("coral", (1.0,))}
    assert len({job.task.identity for job in jobs}) == 14

    mixed = suite(
        {"tasks": ("*/nw-ucla",), "methods": ("chance",)},
        {"tasks": ("zero-shot/utd-mhad",), "methods": ("chance", "devise[draws=1]"), "settings": {"draws": 2}},
    )
    narrowed = mixed.with_methods(["devise-joints", "devise[penalties=[1]]"], "mine", root)
    assert [(job.task.card.path, job.method, job.overrides) for job in narrowed.jobs(root, every_task=False)] == [
        ("zero-shot/nw-ucla", "devise-joints", {}),
        ("zero-shot/utd-mhad", "devise", {"draws": 1, "penalties": [1.0]}),
    ]


def test_a_suite_without_a_place_for_a_method_is_one_line(root: Path) -> None:
    with pytest.raises(UserError, match="does not list method devise, and none of its matrices") as error:
        load_suite("transfer-pairs").with_methods(["devise"], "transfer-pairs", root)
    assert "\n" not in str(error.value)
