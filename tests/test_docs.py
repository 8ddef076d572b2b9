"""What the README, CONTRIBUTING and the pages in docs/ say works: every command in them is run.

Commands that read a published set are given the tiny synthetic one of ``tests/published``; commands that train are
given a synthetic stand-in, and run for one epoch on a few clips.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import feature_inputs
import published
from mmcl_bench.cli import app
from mmcl_bench.jobs import make_job
from mmcl_bench.methods import METHODS
from mmcl_bench.nn import BACKBONES
from mmcl_bench.runner import Surroundings, run_job
from mmcl_bench.skeleton.layouts import KINECT_V2
from mmcl_bench.skeleton.readers import READERS
from mmcl_bench.skeleton.store import CARD, SkeletonDataset
from mmcl_bench.tasks import load_task
from toys import write_toy_for_every_side

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHORT = ["--set", "epochs=1", "--set", "min_steps=0", "--limit", "60"]


def commands(page: Path) -> list[list[str]]:
    """The words of every mmcl-bench command in the page's code blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("mmcl-bench ")]


def test_the_readme_has_the_two_commands_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text()
    assert "pip install . && mmcl-bench run zero-shot --split 55/5\n" in text
    assert "pip install nox && nox\n" in text


def test_every_data_set_has_a_page_with_its_command() -> None:
    for name in READERS.names():
        page = ROOT / "docs" / "datasets" / f"{name}.md"
        prepared = [words[2] for words in commands(page) if words[:2] == ["data", "prepare"]]
        assert name in prepared or READERS.get(name).embedded, page
        for heading in ("Where it comes from", "Prepare", "Sides", "Traps"):
            assert f"\n## {heading}\n" in page.read_text(), page


class Reader:
    """Someone who types a page's commands, one after the other, in an empty folder."""

    def __init__(self, place: Path) -> None:
        self.sources, self.prepared, self.toys = (place / part for part in ("sources", "prepared", "toys"))

    def type(self, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        if words[:2] == ["data", "prepare"]:
            words, root = self._with_tiny_source(words), self.prepared
        elif any((self.prepared / word / CARD).is_file() for word in words if word not in READERS):
            root = self.prepared
        else:
            root = self._toys_of(words)
        if words[:2] == ["data", "show"]:
            words = [*words[:3], self._sample(root / words[2]), *words[4:]]
        if words[0] in ("run", "fuse"):
            trains_a_network = "--method" not in words and "logistic" not in " ".join(words)
            words = [*words, *(SHORT if trains_a_network else []), *(["--limit", "20"] if "paper" in words else [])]
        if words[0] == "report":
            app(["run", "zero-shot", "--dataset", "nw-ucla", "--method", "chance"], standalone_mode=False)
        if words[0] == "features":
            feature_inputs.write(words, SkeletonDataset.open(root / words[2]))
        if words[0] == "export" and importlib.util.find_spec("onnx") is None:
            return
        monkeypatch.setenv("MMCL_BENCH_DATA", str(root))
        app(words, standalone_mode=False)

    def _with_tiny_source(self, words: list[str]) -> list[str]:
        name = words[2]
        if "--source" not in words:
            return words
        at = words.index("--source") + 1
        folder = self.sources / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            published.write(name, folder)
        (source,) = folder.iterdir()
        return [*words[:at], str(source), *words[at + 1 :]]

    def _toys_of(self, words: list[str]) -> Path:
        named = {word for word in words if word in READERS} or {"synth60", "nw-ucla"}
        for name in named:
            if not (self.toys / name).is_dir():
                write_toy_for_every_side(self.toys, name)
        return self.toys

    def _sample(self, folder: Path) -> str:
        return str(SkeletonDataset.open(folder).index["sample_id"][0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MMCL_BENCH_DATA", str(tmp_path / "toys"))
    reader = Reader(tmp_path)
    for words in commands(page):
        print("mmcl-bench", *words)  # shown by pytest when it fails
        reader.type(words, monkeypatch)


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


def test_the_released_checkpoint_of_the_training_page_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    network = BACKBONES.get("ctr-gcn").build(KINECT_V2, n_classes=60, n_bodies=2)
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, "ntu60-xsub-joint.pt")
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102 - our own page
    assert torch.equal(scope["network"].fc.weight, network.fc.weight)
