"""A finished job names the classes of clips that nobody labelled, wherever they lie."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import published
from mmcl_bench.cli import app
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.encoders.features import EXTRACTORS
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.shared.saved import FACTS, FILES
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import RESULT, Stored
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from mmcl_bench.skeleton.clips import Modality
from mmcl_bench.skeleton.layouts import get_layout
from small_backbone import SMALL

SUPERVISED, ZERO_SHOT = "supervised/nw-ucla[split=x-view]", "zero-shot/nw-ucla[split=8/2]"
SHORT = {"epochs": "2", "min_steps": "0", "n_frames": "12", "backbone": SMALL}
LAYOUT = "kinect-v1"


@dataclass(frozen=True)
class Jobs:
    data: Path
    results: Path
    network: Stored
    devise: Stored

    def places(self) -> list[str]:
        return ["--data-root", str(self.data), "--results", str(self.results), "--device", "cpu"]


@pytest.fixture(scope="module")
def jobs(toy_data_root: Path, small_backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    results = tmp_path_factory.mktemp("results")
    where = RunSite(toy_data_root, results)
    network = make_job(load_task(SUPERVISED), METHODS.get("skeleton-only"), 0, overrides=SHORT)
    devise = make_job(load_task(ZERO_SHOT), METHODS.get("devise-joints"), 0)
    return Jobs(toy_data_root, results, run_job(network, where)[0], run_job(devise, where)[0])


Predict = Callable[..., str]


@pytest.fixture
def predict(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> Predict:
    """Types ``mmcl-bench predict`` and gives what it prints."""

    def type_in(*words: str) -> str:
        app(["predict", *words, *jobs.places()], standalone_mode=False)
        return capsys.readouterr().out

    return type_in


def table(text: str) -> dict[str, dict[str, float]]:
    """Probability by class by sample, of the JSON form."""
    return {
        each["sample"]: {row["class"]: row["probability"] for row in each["classes"]}
        for each in json.loads(text)["predictions"]
    }


def stored_table(stored: Stored, scores: np.ndarray | None = None) -> dict[str, dict[str, float]]:
    shares = softmax((stored.scores if scores is None else scores).astype(np.float64), axis=1)
    rows = zip(stored.samples["sample_id"], shares, strict=True)
    return {sample: dict(zip(stored.result.classes, row, strict=True)) for sample, row in rows}


def assert_same(found: dict[str, dict[str, float]], expected: dict[str, dict[str, float]]) -> None:
    for sample, shares in expected.items():
        assert found[sample] == pytest.approx(shares, abs=1e-5)


@pytest.mark.parametrize("which", ["network", "devise"])
def test_test_clips_get_the_softmax_of_the_stored_scores(which: str, jobs: Jobs, predict: Predict) -> None:
    stored: Stored = getattr(jobs, which)
    found = table(predict(stored.result.job_hash[:8], "nw-ucla", "--top", "10", "--json"))
    assert len(found) == len(SkeletonDataset.open(jobs.data / "nw-ucla").index)
    assert_same(found, stored_table(stored))


def test_calibrated_subtracts_from_seen_classes(jobs: Jobs, predict: Predict) -> None:
    result = jobs.devise.result
    assert result.selection.calibration != 0
    scores = jobs.devise.scores - result.selection.calibration * np.array(result.seen)
    found = table(predict(str(jobs.devise.folder), "nw-ucla", "--calibrated", "--top", "10", "--json"))
    assert_same(found, stored_table(jobs.devise, scores))


def test_csv_names_the_likeliest_classes_by_rank(jobs: Jobs, predict: Predict, tmp_path: Path) -> None:
    words = ["supervised", str(jobs.data / "nw-ucla"), "--top", "3"]
    printed = predict(*words)
    assert predict(*words, "--output", str(tmp_path / "classes.csv")) == ""
    assert (tmp_path / "classes.csv").read_text() == printed
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert list(rows[0]) == ["sample", *(f"{what}_{rank}" for rank in (1, 2, 3) for what in ("class", "probability"))]
    best = jobs.network.scores.argmax(1)
    expected = {s: jobs.network.result.classes[c] for s, c in zip(jobs.network.samples["sample_id"], best, strict=True)}
    assert {row["sample"]: row["class_1"] for row in rows if row["sample"] in expected} == expected
    assert all(float(row["probability_1"]) >= float(row["probability_2"]) for row in rows)


def write_loose(data: Path, folder: Path, n_clips: int = 3) -> list[str]:
    """Clips of the prepared toy as ``.npy`` files, one in a folder below; their sample ids."""
    dataset = SkeletonDataset.open(data / "nw-ucla")
    (folder / "below").mkdir(parents=True)
    for row in range(n_clips):
        name = dataset.index.sample_id[row]
        np.save(folder / ("below" if row == 0 else "") / f"{name}.npy", dataset.bodies(row)[0].positions)
    return list(dataset.index.sample_id[:n_clips])


def test_loose_files_are_a_clip_each(jobs: Jobs, predict: Predict, tmp_path: Path) -> None:
    first, second, third = write_loose(jobs.data, tmp_path / "clips")
    prepared = table(predict("supervised", "nw-ucla", "--json"))
    found = table(predict("supervised", str(tmp_path / "clips"), "--json"))
    expected = {f"below/{first}": prepared[first], second: prepared[second], third: prepared[third]}
    assert set(found) == set(expected)
    assert_same(found, expected)
    one = table(predict("supervised", str(tmp_path / "clips" / f"{second}.npy"), "--json"))
    assert_same(one, {second: prepared[second]})
    assert len(one) == 1


def test_a_page_of_facts_says_what_loose_files_hold(jobs: Jobs, predict: Predict, tmp_path: Path) -> None:
    (name,) = write_loose(jobs.data, tmp_path, 1)
    path = tmp_path / "below" / f"{name}.npy"
    positions = np.load(path) * 1000
    np.save(path, positions[..., [0, 2, 1]] * [1, -1, 1])  # z up, millimetres
    facts = f'title = "mine (synthetic)"\nsynthetic = true\nlayout = "{LAYOUT}"\nunit = "millimetres"\nup = "z"\n'
    (tmp_path / "dataset.toml").write_text(facts)
    prepared = table(predict("supervised", "nw-ucla", "--json"))
    assert_same(table(predict("supervised", str(tmp_path), "--json")), {f"below/{name}": prepared[name]})


@pytest.mark.parametrize("name", ["custom", "nw-ucla"])
def test_manifests_and_published_files_are_read_where_they_lie(name: str, predict: Predict, tmp_path: Path) -> None:
    source = published.write(name, tmp_path)
    found = table(predict("supervised", str(source), *([] if name == "custom" else ["--reader", name]), "--json"))
    assert len(found) > 3
    assert all(sum(shares.values()) <= 1.0001 for shares in found.values())


def test_one_clip_of_a_published_set_is_read_by_its_reader(predict: Predict, tmp_path: Path) -> None:
    with zipfile.ZipFile(published.write("nw-ucla", tmp_path)) as zipped:
        (member, *_) = zipped.namelist()
        zipped.extract(member, tmp_path)
    assert list(table(predict("supervised", str(tmp_path / member), "--json"))) == [Path(member).stem]


def test_joints_of_another_layout_are_mapped(jobs: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(published.write("ntu60", tmp_path)) as zipped:
        member = sorted(name for name in zipped.namelist() if name.endswith(".skeleton"))[0]
        (tmp_path / "mine.skeleton").write_bytes(zipped.read(member))
    app(["predict", "supervised", str(tmp_path / "mine.skeleton"), *jobs.places()], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].startswith("mine,")
    assert "joints are mapped from kinect-v2 to kinect-v1" in printed.err


def test_a_bad_clip_stops_or_is_left_out_by_name(
    jobs: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_loose(jobs.data, tmp_path)
    np.save(tmp_path / "broken.npy", np.full((4, len(get_layout(LAYOUT)), 3), 1e6))
    words = ["predict", "supervised", str(tmp_path), *jobs.places()]
    output = tmp_path / "out.csv"
    with pytest.raises(UserError, match=r"broken\.npy has a joint 1e\+06 m away.*--skip-bad"):
        app([*words, "--output", str(output)], standalone_mode=False)
    assert not output.exists()
    with pytest.raises(UserError, match="--skip-bad"):
        app(words, standalone_mode=False)
    assert capsys.readouterr().out == "", "all files are read before the first line"
    app([*words, "--skip-bad", "--output", str(output)], standalone_mode=False)
    message = capsys.readouterr().err
    assert "left out: broken.npy has a joint" in message
    assert "3 clips" in message
    assert "1 left out" in message
    assert len(output.read_text().splitlines()) == 4


def test_class_texts_take_the_place_of_the_classes(jobs: Jobs, predict: Predict, tmp_path: Path) -> None:
    task = load_task(ZERO_SHOT)
    names = jobs.devise.result.classes
    texts = dict(zip(names, task.class_texts(), strict=True))
    unseen = [name for name, seen in zip(names, jobs.devise.result.seen, strict=True) if not seen]
    columns = [names.index(name) for name in unseen]
    scores = jobs.devise.scores[:, columns].astype(np.float64)
    expected = {
        sample: dict(zip(unseen, row, strict=True))
        for sample, row in zip(jobs.devise.samples["sample_id"], softmax(scores, axis=1), strict=True)
    }
    typed = [word for name in unseen for word in ("--text", f"{name}={texts[name]}")]
    assert_same(table(predict(ZERO_SHOT, "nw-ucla", *typed, "--json")), expected)
    toml, table_file = tmp_path / "classes.toml", tmp_path / "classes.csv"
    toml.write_text("".join(f"{json.dumps(name)} = {json.dumps(texts[name])}\n" for name in unseen))
    with table_file.open("w", newline="") as file:
        csv.writer(file).writerows([["name", "text"], *([name, texts[name]] for name in unseen)])
    for path in (toml, table_file):
        assert_same(table(predict(ZERO_SHOT, "nw-ucla", "--texts", str(path), "--json")), expected)


def test_no_picture_and_no_answer_is_read(jobs: Jobs, predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("predicting read something else than skeletons")

    for name in ("images", "answers"):
        monkeypatch.setattr(SkeletonDataset, name, refuse)
    for modality in (Modality.RGB, Modality.INSTRUCT):
        monkeypatch.setitem(EXTRACTORS, modality, refuse)
    assert table(predict("supervised", "nw-ucla", "--json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing", "nw-ucla"], "no finished job is 'nothing'"),
        (["supervised", "nw-ucla", "--seed", "3"], "has that --method and --seed; there are"),
        (["supervised", "nw-uclaa"], "Did you mean nw-ucla"),
        (["supervised", "nw-ucla", "--reader", "synth60"], "generated, not read; give synth60 itself"),
        (["supervised", "nw-ucla", "--set", "denoise=none"], "name it with --reader"),
        (["supervised", "nw-ucla", "--text", "a=b", "--text", "c=d"], "known by training clips, not by texts"),
        (["zero-shot", "nw-ucla", "--text", "a=b"], "give two or more"),
        (["zero-shot", "nw-ucla", "--text", "a"], "expected key=value"),
        (["zero-shot", "nw-ucla", "--text", "a=b", "--texts", "c.toml"], "give one"),
        (["zero-shot", "nw-ucla", "--texts", "none.toml"], "no such file of class texts"),
        (["zero-shot", "nw-ucla", "--calibrated", "--text", "a=b"], "--calibrated is for the job's own classes"),
        (["supervised", "nw-ucla", "--output", "missing/out.csv"], "missing: no such folder"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, predict: Predict) -> None:
    with pytest.raises(UserError) as caught:
        predict(*words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", 'wave = 3\nsit = "sits"', "printable words"),
        ("a.toml", "wave =", "not a readable file"),
        ("a.csv", "class,words\nwave,waves", "columns name and text"),
        ("a.csv", "name,text\nwave,waves\nwave,waves", "twice"),
        ("a.csv", "name,text\nwave", "printable words"),
    ],
)
def test_a_bad_file_of_texts_says_what_is_wrong(
    name: str, content: str, message: str, predict: Predict, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        predict("zero-shot", "nw-ucla", "--texts", str(tmp_path / name))


def test_of_several_jobs_all_are_named(jobs: Jobs, tmp_path: Path) -> None:
    where = RunSite(jobs.data, tmp_path)
    for seed in (0, 1):
        run_job(make_job(load_task(SUPERVISED), METHODS.get("chance"), seed), where)
    words = ["predict", "supervised/nw-ucla", "nw-ucla", "--data-root", str(jobs.data), "--results", str(tmp_path)]
    with pytest.raises(UserError, match=r"2 jobs are .* chance, seed 0\); .* chance, seed 1\)"):
        app(words, standalone_mode=False)
    app([*words, "--method", "chance", "--seed", "1"], standalone_mode=False)


def test_a_result_of_before_models_were_kept_stays_valid(jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / jobs.network.folder.name
    folder.mkdir(parents=True)
    content = json.loads((jobs.network.folder / RESULT).read_text())
    for file in FILES:
        del content["files"][file]
    del content["seal"]
    for path in jobs.network.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / RESULT).write_text(json.dumps(content))
    assert Stored.read(folder) is not None
    with pytest.raises(UserError, match=r"keeps no model; .*--fresh"):
        app(["predict", str(folder), "nw-ucla", *jobs.places()], standalone_mode=False)


def test_a_changed_model_is_no_result(jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    for path in jobs.network.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / FACTS).write_text("{}")
    assert Stored.read(folder) is None
    with pytest.raises(UserError, match="damaged"):
        app(["predict", str(folder), "nw-ucla", *jobs.places()], standalone_mode=False)
