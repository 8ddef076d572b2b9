"""What the README, CONTRIBUTING and the pages in docs/ say works: every command and Python snippet in them is run.

Commands that read a published set are given the tiny synthetic one of ``tests/published``; commands that train are
given a synthetic stand-in, and run for one epoch on a few clips.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import typer
from sklearn.preprocessing import normalize

import feature_inputs
import published
from mmcl_bench.cli import app
from mmcl_bench.core.registry import Registry
from mmcl_bench.core.version import __version__
from mmcl_bench.datasets.prepare import open_dataset
from mmcl_bench.datasets.readers import READERS, synth60
from mmcl_bench.datasets.store import CARD, SkeletonDataset
from mmcl_bench.encoders import ENCODERS
from mmcl_bench.inference.predict import TrainedModel
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.extractor import Features
from mmcl_bench.methods.shared.feature_method import MAIN_TEXT, FeatureClips, FeatureMethod
from mmcl_bench.methods.shared.transductive import TransductiveMethod
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClassTable, ClipView, Context, LabelledClips, Problem
from mmcl_bench.report import page as report_page
from mmcl_bench.results.records import Result
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from mmcl_bench.skeleton.layouts import KINECT_V2
from small_backbone import SMALL
from tiny_gguf import stand_in_for_smollm2
from toys import write_toy_for_every_side
from transfer_toys import ONE

ROOT = Path(__file__).parents[1]
OUTSIDE_DOCS = ("README.md", "CONTRIBUTING.md", "results/README.md")
PAGES = [*(ROOT / name for name in OUTSIDE_DOCS), *sorted((ROOT / "docs").rglob("*.md"))]
SHORT = ["--set", "epochs=1", "--set", "min_steps=0", "--set", "n_frames=8", "--limit", "60"]
SHORT_EXTRACTOR = {"extractor_epochs": 1, "extractor_min_steps": 0, "draws": 1, "backbone": SMALL}

pytestmark = pytest.mark.usefixtures("small_backbone")


def commands(page: Path) -> list[list[str]]:
    """The words of every mmcl-bench command in the page's code blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in parts if part.startswith("mmcl-bench ")]


def snippets(page: Path) -> list[str]:
    """The page's Python blocks."""
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def run_snippets(page: Path, data_root: Path) -> dict[str, Any]:
    """What the snippets of a page define, run one after the other in the working directory, with what they take as
    given: scores, clips or a released checkpoint of the reader's own."""
    module = ModuleType("my_package")
    if page.stem == "score":
        module.__dict__.update(names=["a", "b"], logits=np.zeros((2, 10), dtype=np.float32))
    if page.stem == "predict":
        dataset = SkeletonDataset.open(data_root / "nw-ucla")
        module.__dict__["person"] = dataset.bodies(0)[0].positions
    if page.stem == "training":
        network = BACKBONES.get("ctr-gcn")(KINECT_V2, n_classes=60, n_bodies=2)
        torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, "ntu60-xsub-joint.pt")
    sys.path.insert(0, str(Path.cwd()))  # a page may import what its commands wrote
    try:
        for source in snippets(page):
            if "onnxruntime" not in source or importlib.util.find_spec("onnx") is not None:
                exec(source, module.__dict__)  # noqa: S102 - our own page
    finally:
        sys.path.pop(0)
    return module.__dict__


def test_the_readme_has_the_two_commands_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text()
    assert "pip install . && mmcl-bench run zero-shot --split 55/5\n" in text
    assert "pip install nox && nox\n" in text


def test_the_readme_opens_with_a_picture_reasons_and_published_figures() -> None:
    text = (ROOT / "README.md").read_text()
    opening, _, rest = text.partition("\n## Start\n")
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", opening)
    assert (ROOT / picture).is_file()
    assert len(re.findall(r"^- \*\*[^*]+\.\*\* ", opening, re.MULTILINE)) == 4
    assert "| task | method | here | in its paper |" in opening
    assert "```bibtex" in rest
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("reader", ["method", "data", "choosing"])
def test_each_reader_has_a_page_in_the_menu_and_the_readme(reader: str) -> None:
    page = f"paths/{reader}.md"
    assert (ROOT / "docs" / page).is_file()
    assert page in (ROOT / "mkdocs.yml").read_text()
    assert f"(docs/{page})" in (ROOT / "README.md").read_text()


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
            for name in READERS.names():
                if name in words and not (root / name).is_dir():
                    write_toy_for_every_side(root, name)
        else:
            root = self.toys_of(words)
        if words[:2] == ["data", "show"] and not words[3].startswith("-"):
            words = [*words[:3], self._sample(root / words[2]), *words[4:]]
        if words[0] in ("run", "fuse"):
            words = self._shortened(words)
        if words[0] == "report":
            app(["run", "zero-shot", "--dataset", "nw-ucla", "--method", "chance"], standalone_mode=False)
        if words[:2] == ["baseline", "accept"]:
            words = [*words, "--allow-dirty"]  # the tests may run in a checkout with changes
        if words[0] == "features":
            feature_inputs.write(words, SkeletonDataset.open(root / words[2]))
        for word, package in (("export", "onnx"), ("text=minilm,smollm2", "gguf")):
            if word in words and importlib.util.find_spec(package) is None:
                return
        monkeypatch.setenv("MMCL_BENCH_DATA", str(root))
        app(words, standalone_mode=False)
        if "--template" in words:
            template = Path(words[words.index("--template") + 1])
            template.write_text(template.read_text(encoding="utf-8").replace(",0.0", ",0.5"), encoding="utf-8")

    def _shortened(self, words: list[str]) -> list[str]:
        """The words of a run as a smoke run, where it would train a network."""
        if "--suite" in words:
            return [*words, *(["--methods", "chance", "--limit", "20"] if "--methods" not in words else [])]
        chosen = next((after for word, after in pairwise(words) if word in ("--method", "--members")), "mmcl")
        on_features = [
            each for each in chosen.split(",") if each in METHODS and issubclass(METHODS.get(each), FeatureMethod)
        ]
        if on_features:
            words = [on_features[0] if word == chosen else word for word in words]
            return [*words, *(word for key, value in SHORT_EXTRACTOR.items() for word in ("--set", f"{key}={value}"))]
        if chosen in METHODS and issubclass(METHODS.get(chosen), TransductiveMethod):
            return [*words, "--set", f"base_settings={json.dumps(SHORT_EXTRACTOR)}"]
        if not {"paper", "skeleton-only", "rgb-fusion"}.intersection(chosen.split(",")) and "mmcl" not in chosen:
            return words
        if "paper" in words:  # members with backbones of their own
            return [*words, *SHORT, "--limit", "20"]
        # Unlabelled clips teach by their images, which toys lack.
        words = [word.replace("unlabelled_pairs=true", "unlabelled_pairs=false") for word in words]
        given = any(word.startswith("backbone=") for word in words)
        return [*words, *SHORT, *([] if given else ["--set", f"backbone={SMALL}"])]

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

    def toys_of(self, words: list[str]) -> Path:
        named = {name for word in words for name in word.split(",") if name in READERS} or {"synth60", "nw-ucla"}
        for name in named:
            if not (self.toys / name).is_dir():
                write_toy_for_every_side(self.toys, name)
        return self.toys

    def _sample(self, folder: Path) -> str:
        return str(SkeletonDataset.open(folder).index["sample_id"][0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_snippet_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MMCL_BENCH_DATA", str(tmp_path / "toys"))
    some = synth60.all_takes()[::40]
    monkeypatch.setattr(synth60, "all_takes", lambda: some)
    monkeypatch.setattr(report_page, "MOST_GROUPS", 0)  # a figure of one method takes seconds to write as files
    shutil.copytree(ROOT / "results", tmp_path / "results", ignore=shutil.ignore_patterns("jobs"))
    for card in re.findall(r"```toml\n(family = .*?)```", page.read_text(), flags=re.DOTALL):
        (tmp_path / "my-card.toml").write_text(card)
    for classes in re.findall(r"```toml\n(\[\[shared\]\].*?)```", page.read_text(), flags=re.DOTALL):
        (tmp_path / "classes.toml").write_text(classes)
    reader = Reader(tmp_path)
    if importlib.util.find_spec("gguf") is not None:
        stand_in_for_smollm2(tmp_path, monkeypatch)
    for words in commands(page):
        print("mmcl-bench", *words)  # shown by pytest when it fails
        reader.type(words, monkeypatch)
    if snippets(page):
        toys = reader.toys_of([])
        monkeypatch.setenv("MMCL_BENCH_DATA", str(toys))
        run_snippets(page, toys)
        if page.stem == "notebook":
            METHODS.unregister("naive-bayes")


def example(page: str) -> dict[str, Any]:
    """What the Python blocks of a page define."""
    return run_snippets(ROOT / "docs" / page, Path())


def run_of(task: str, method: str, data_root: Path, results: Path, **settings: str) -> Result:
    job = make_job(load_task(task), METHODS.get(method), 0, overrides=settings)
    return run_job(job, RunSite(data_root, results))[0].result


@contextmanager
def registered(registry: Registry[Any], name: str, thing: Any) -> Iterator[None]:
    registry.register(name)(thing)
    try:
        yield
    finally:
        registry.unregister(name)


SHORT_FIT = {"epochs": "2", "min_steps": "0", "streams": "joint", "n_frames": "8", "backbone": SMALL}


class _Stopped(Exception):
    """What a kill is in these tests."""


@pytest.mark.parametrize(
    ("kind", "name", "settings"), [("Discriminant", "discriminant", {}), ("CentreLoss", "centre-loss", SHORT_FIT)]
)
def test_the_methods_of_their_page_run_resume_and_predict(
    kind: str, name: str, settings: dict[str, str], toy_data_root: Path, tmp_path: Path
) -> None:
    task = load_task("supervised/nw-ucla[split=x-sub]")

    def stop(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if "epoch 2" in phase or done > 1:
            raise _Stopped

    with registered(METHODS, name, example("adding/method.md")[kind]):
        job = make_job(task, METHODS.get(name), 0, overrides=settings)
        undisturbed = run_job(job, RunSite(toy_data_root, tmp_path / "undisturbed"))[0]
        if settings:
            with pytest.raises(_Stopped):
                run_job(job, RunSite(toy_data_root, tmp_path / "stopped", progress=stop))
        resumed = run_job(job, RunSite(toy_data_root, tmp_path / "stopped"))[0]
        model = TrainedModel.of(resumed)
    data = {dataset: open_dataset(dataset, toy_data_root) for dataset in task.datasets}
    clips = PROTOCOLS.get("supervised")(task, data, Needs(), tmp_path).test_clips()
    np.testing.assert_array_equal(resumed.scores, undisturbed.scores)
    np.testing.assert_array_equal(model.method.score(clips), undisturbed.scores)
    assert settings or (undisturbed.result.metrics["top1"].value or 0) > 0.5


def test_the_adaptation_method_of_its_page_is_short_and_runs(transfer_data_root: Path, tmp_path: Path) -> None:
    (source,) = snippets(ROOT / "docs" / "adding" / "adaptation.md")
    assert len(source.splitlines()) < 40
    short = {"extractor": "quick", "backbone": SMALL, "extractor_epochs": "1", "extractor_min_steps": "0"}
    with registered(METHODS, "domain-confusion", example("adding/adaptation.md")["DomainConfusion"]):
        result = run_of(ONE, "domain-confusion", transfer_data_root, tmp_path, **short, steps="2", copies="1")
    assert result.method.setting == "unlabelled"
    assert result.history["final"][0]["means"] > 0


ZERO_SHOT_OF_PAGE = [("DeepEmbedding", {"steps": "200"}), ("ConSE", {})]


@pytest.mark.parametrize(("kind", "settings"), ZERO_SHOT_OF_PAGE)
def test_the_zero_shot_methods_of_their_page_run_and_predict(
    kind: str, settings: dict[str, str], toy_data_root: Path, tmp_path: Path
) -> None:
    method = example("adding/method.md")[kind]
    short = {key: str(value) for key, value in SHORT_EXTRACTOR.items()}
    task = load_task("zero-shot/nw-ucla[split=8/2]")
    with registered(METHODS, method.name, method):
        stored = run_job(make_job(task, method, 0, overrides=settings | short), RunSite(toy_data_root, tmp_path))[0]
        model = TrainedModel.of(stored)
    data = {dataset: open_dataset(dataset, toy_data_root) for dataset in task.datasets}
    clips = PROTOCOLS.get("zero-shot")(task, data, Needs(), tmp_path).test_clips()
    np.testing.assert_array_equal(model.method.score(clips), stored.scores)


@pytest.mark.parametrize(("kind", "settings"), ZERO_SHOT_OF_PAGE)
def test_the_zero_shot_methods_of_their_page_tell_unseen_classes_apart(
    kind: str, settings: dict[str, str], tmp_path: Path
) -> None:
    """Classes are all mixtures of four traits; features are a linear map of a class's text, with noise."""
    generator = np.random.default_rng(0)
    texts = normalize(np.array(list(product((0, 1), repeat=4))[1:], dtype=np.float32))
    seen = np.arange(15) % 5 != 3
    labels = np.repeat(np.arange(15), 12)
    pooled = texts[labels] @ generator.normal(size=(4, 16)) + generator.normal(scale=0.05, size=(180, 16))
    means = np.stack([pooled[labels == at].mean(0) for at in np.flatnonzero(seen)])
    logits = -np.square(pooled[:, None] - means).sum(2)
    train, test = (
        FeatureClips(Features(pooled[rows].astype(np.float32), logits[rows], None), labels[rows])
        for rows in (seen[labels], ~seen[labels])
    )
    clips = LabelledClips(ClipView([], [], "kinect-v1"), train.labels, train.labels, {})
    names = tuple(str(at) for at in range(15))
    problem = Problem("toy", "zero-shot", "zsl_top1", ClassTable(names, seen, names, texts), clips, None)
    method = example("adding/method.md")[kind](**settings)
    method.seen, method.texts = seen, {MAIN_TEXT: texts}
    method.learn(train, problem, Context(seed=0, folder=tmp_path, chosen={"step": 1, "of": 1}))
    among_unseen = method.score_features(test.features, method.texts)[:, ~seen]
    assert (np.flatnonzero(~seen)[among_unseen.argmax(1)] == test.labels).mean() > 0.5, "chance is 0.33"


@pytest.mark.parametrize(
    "name",
    [name for name in METHODS.names() if METHODS.get(name).__module__.startswith("mmcl_bench.methods.zero_shot.")],
)
def test_every_zero_shot_method_has_a_page_that_names_its_text_slots(name: str) -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "zero-shot").glob("*.md"))
    sections = [section for section in re.split(r"\n(?=## )", pages) if f"`{name}`" in section]
    assert sections, f"no page in docs/zero-shot has a section on {name}"
    assert any(all(f"`{slot}`" in section for slot in METHODS.get(name).text_slots) for section in sections)


def test_the_encoder_of_its_page_embeds_the_classes(toy_data_root: Path, tmp_path: Path) -> None:
    with registered(ENCODERS, "hashed-words", example("adding/encoder.md")["HashedWordsFamily"]):
        task = "zero-shot/nw-ucla[split=8/2,text=hashed-words:64]"
        result = run_of(task, "devise-joints", toy_data_root, tmp_path)
    assert list(result.provenance.weight_hashes) == ["hashed-words:64"]


def test_the_backbone_of_its_page_trains(toy_data_root: Path, tmp_path: Path) -> None:
    short = {"epochs": "1", "min_steps": "0", "backbone": "temporal-conv"}
    with registered(BACKBONES, "temporal-conv", example("adding/backbone.md")["TemporalConv"]):
        result = run_of("supervised/nw-ucla[split=x-sub]", "skeleton-only", toy_data_root, tmp_path, **short)
    assert result.method.settings["backbone"] == "temporal-conv"


def verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every verb of the command line, by its words."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from verbs(inner, (*path, name))
    else:
        yield " ".join(path), command


VERBS = dict(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_has_help_and_a_place_in_the_docs(verb: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    assert VERBS[verb].help
    assert f"mmcl-bench {verb}" in text
    for parameter in VERBS[verb].params:
        assert getattr(parameter, "help", None), parameter.name
        names = [name for name in parameter.opts if name.startswith("--")]
        assert not names or any(name in text for name in names), f"{names[0]} is in no page"


def test_the_pages_build_without_a_broken_link(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs mkdocs-material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    home = (tmp_path / "site" / "index.html").read_text()
    assert "Start here" in home
    assert not re.findall(r'(?:src|href)="https?://(?!github)[^"]+\.(?:js|css|woff2?)', home)


def test_the_notebook_runs_cell_by_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "outputs are not kept"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("MMCL_BENCH_DATA", str(Reader(tmp_path).toys_of([])))
    module = ModuleType("notebook")
    shown = []
    for cell in code:
        lines = ast.parse("".join(cell["source"]))
        last = lines.body.pop() if isinstance(lines.body[-1], ast.Expr) else None
        exec(compile(lines, "cell", "exec"), module.__dict__)  # noqa: S102 - our own page
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), module.__dict__))  # noqa: S307
    first, both, by_setting, frame, classes = shown
    assert "<th>my-naive-bayes (quick)</th>" in both._repr_html_()
    assert [job.result.method.settings["smoothing"] for job in by_setting.stored] == [0.001, 0.01, 0.1]
    assert {*first.method} == {"logistic", "chance"}
    assert len(frame) == 3
    assert {*classes} <= {*by_setting.stored[0].result.classes}
    METHODS.unregister("my-naive-bayes")


def test_the_released_checkpoint_of_the_training_page_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = example("training.md")["network"]
    released = torch.load("ntu60-xsub-joint.pt", weights_only=True)
    assert torch.equal(network.fc.weight, released["module.fc.weight"])
