"""What the README and CONTRIBUTING say works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mmcl_bench.cli import app
from mmcl_bench.jobs import make_job
from mmcl_bench.methods import METHODS
from mmcl_bench.runner import Surroundings, run_job
from mmcl_bench.skeleton.prepare import prepare
from mmcl_bench.tasks import load_task

ROOT = Path(__file__).parents[1]
DATA_VARIABLES = {"nw-ucla.zip", "utd-mhad.zip"}
SHORT = ["--set", "epochs=1", "--set", "min_steps=0", "--limit", "60"]


def commands() -> list[list[str]]:
    """Every mmcl-bench command in the README's code blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    parts = [part.strip() for block in blocks for line in block.splitlines() for part in line.split("&&")]
    return [shlex.split(part)[1:] for part in parts if part.startswith("mmcl-bench")]


def test_the_readme_has_the_two_commands_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text()
    assert "pip install . && mmcl-bench run zero-shot --split 55/5\n" in text
    assert "pip install nox && nox\n" in text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sources_dir: Path) -> Path:
    root = tmp_path_factory.mktemp("readme")
    for name in ("nw-ucla", "utd-mhad"):
        prepare(name, sources_dir / f"{name}.zip", root / "data")
    return root


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_of_the_readme_runs(
    command: list[str], place: Path, sources_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As typed, but on a few clips for one epoch, so that all of them take seconds."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("MMCL_BENCH_DATA", str(place / "data"))
    arguments = [str(sources_dir / word) if word in DATA_VARIABLES else word for word in command]
    if arguments[0] == "report":
        arguments_of_run = ["run", "zero-shot", "--dataset", "nw-ucla", "--method", "chance"]
        app(arguments_of_run, standalone_mode=False)
    app([*arguments, *(SHORT if arguments[0] == "run" else [])], standalone_mode=False)


def test_the_method_of_contributing_runs(toy_data_root: Path, tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL)
    scope: dict[str, type] = {"__name__": "contributed"}
    exec(source, scope)  # noqa: S102 - our own page
    METHODS.register("nearest")(scope["Nearest"])
    try:
        job = make_job(load_task("supervised/nw-ucla[split=x-sub]"), METHODS.get("nearest"), 0)
        stored, _ = run_job(job, Surroundings(toy_data_root, tmp_path))
        assert (stored.result.metrics["top1"].value or 0) > 0.5
    finally:
        METHODS.unregister("nearest")
