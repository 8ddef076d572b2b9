"""Scores of other codebases: read as data, joined by sample id, judged as our own, stored and marked as foreign."""

from __future__ import annotations

import json
import pickle
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example
from hypothesis import given as try_all
from hypothesis import strategies as st
from safetensors.numpy import save_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from mmcl_bench.comparing.paired import compare
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting
from mmcl_bench.evaluation.metrics import METRICS, fit_calibration
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.report.page import build_report
from mmcl_bench.results.groups import group_jobs
from mmcl_bench.results.store import Stored, read_results, stored_results
from mmcl_bench.running.foreign import ForeignRun, ScoredTask, entry_of_scores, write_template
from mmcl_bench.running.fusion import FUSION
from mmcl_bench.running.score_files import ScoreFile, read_score_file, read_score_files
from stored_jobs import leaderboard

SUPERVISED = "supervised/nw-ucla[split=x-view]"
ZERO_SHOT = "zero-shot/nw-ucla[split=8/2]"
CLASSES = ("walk", "sit down", "stand up")


@pytest.fixture(scope="module")
def supervised(toy_data_root: Path) -> ScoredTask:
    return ScoredTask(load_task(SUPERVISED, toy_data_root), toy_data_root)


@pytest.fixture(scope="module")
def zero_shot(toy_data_root: Path) -> ScoredTask:
    return ScoredTask(load_task(ZERO_SHOT, toy_data_root), toy_data_root)


def synthetic_scores(scored_task: ScoredTask, seed: int = 0) -> np.ndarray:
    """Synthetic scores that are right now and then."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(len(scored_task.sample_ids), len(scored_task.classes)))
    scores[np.arange(len(scores)), scored_task.protocol.test_rows.columns] += 1.5
    return scores


def score_file(scored_task: ScoredTask, scores: np.ndarray | None = None) -> ScoreFile:
    chosen = synthetic_scores(scored_task) if scores is None else scores
    return ScoreFile(Path("theirs.csv"), tuple(scored_task.sample_ids), chosen, scored_task.classes)


def given(**changes: object) -> ScoreFile:
    """Three clips and three classes."""
    content = {
        "path": Path("theirs.csv"),
        "sample_ids": ("c1", "c2", "c3"),
        "scores": np.arange(9.0).reshape(3, 3),
        "columns": CLASSES,
        **changes,
    }
    return ScoreFile(**content)  # type: ignore[arg-type]


def write_csv(path: Path, file: ScoreFile) -> None:
    frame = pd.DataFrame(file.scores, columns=list(file.columns or range(file.scores.shape[1])))
    frame.insert(1, "sample_id", file.sample_ids)
    frame.to_csv(path, index=False)


def write_parquet(path: Path, file: ScoreFile) -> None:
    frame = pd.DataFrame(file.scores, columns=[str(name) for name in file.columns or range(file.scores.shape[1])])
    frame["sample_id"] = file.sample_ids
    frame.to_parquet(path)


def write_npz(path: Path, file: ScoreFile) -> None:
    named = {} if file.columns is None else {"classes": np.array(file.columns)}
    np.savez(path, scores=file.scores, sample_ids=np.array(file.sample_ids), **named)


def write_safetensors(path: Path, file: ScoreFile) -> None:
    metadata = {"sample_ids": json.dumps(file.sample_ids)}
    metadata |= {} if file.columns is None else {"classes": json.dumps(file.columns)}
    save_file({"scores": file.scores}, path, metadata)


WRITERS = {"csv": write_csv, "parquet": write_parquet, "npz": write_npz, "safetensors": write_safetensors}


class TestReading:
    @pytest.mark.parametrize("suffix", WRITERS)
    def test_every_format_says_the_same(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"scores.{suffix}"
        WRITERS[suffix](path, given())
        found = read_score_file(path)
        assert (found.sample_ids, found.columns) == (("c1", "c2", "c3"), CLASSES)
        np.testing.assert_array_equal(found.scores, given().scores)

    @pytest.mark.parametrize(
        "companion", ["scores.csv", "scores.parquet", "scores.txt", "samples.parquet", "elsewhere.txt"]
    )
    def test_ids_of_safetensors_may_stand_beside_them(self, companion: str, tmp_path: Path) -> None:
        save_file({"scores": given().scores}, tmp_path / "scores.safetensors")
        place, frame = tmp_path / companion, pd.DataFrame({"sample_id": given().sample_ids})
        if place.suffix == ".txt":
            place.write_text("c1\nc2\n\nc3\n")
        elif place.suffix == ".csv":
            frame.to_csv(place)
        else:
            frame.to_parquet(place)
        samples = place if companion.startswith("elsewhere") else None
        assert read_score_file(tmp_path / "scores.safetensors", samples).sample_ids == given().sample_ids

    def test_the_files_of_our_own_jobs_are_read(self, supervised: ScoredTask, tmp_path: Path) -> None:
        stored = ForeignRun(
            supervised, "theirs", 0, written(score_file(supervised), tmp_path), plain(supervised)
        ).store(tmp_path)
        again = read_score_file(stored.folder / "scores.safetensors")
        assert again.sample_ids == tuple(supervised.sample_ids)

    def test_an_id_may_look_like_a_missing_value_or_a_number(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "scores.csv", given(sample_ids=("NA", "007", "nan")))
        assert read_score_file(tmp_path / "scores.csv").sample_ids == ("NA", "007", "nan")

    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
                return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

        np.savez(tmp_path / "a.npz", scores=np.zeros((1, 1)), sample_ids=np.array([Trap()], dtype=object))
        (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap()))
        for name in ("a.npz", "b.npz"):
            with pytest.raises(UserError) as caught:
                read_score_file(tmp_path / name)
            assert "\n" not in str(caught.value)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.txt", b"", "scores are read from .csv, .parquet, .npz, .npy, .pkl, .pickle, .json, .safetensors"),
            ("a.csv", b"", "not a readable file of scores"),
            ("a.csv", b"clip,walk\nc1,3\n", "no column sample_id"),
            ("a.csv", b"sample_id,walk\nc1,3\nc2,high\n", "column 'walk', row 2: 'high' is no number"),
            ("a.csv", b"\xff\xfe\x00", "not a readable file of scores"),
            ("a.parquet", b"PAR1", "not a readable file of scores"),
            ("a.npz", b"PK", "not a readable file of scores"),
            ("a.safetensors", b"\xff" * 20, "not a readable file of scores"),
        ],
    )
    def test_what_cannot_be_read_is_said_in_one_line(
        self, name: str, content: bytes, message: str, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_score_file(tmp_path / name)
        assert message in str(caught.value)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)

    def test_parts_that_are_missing_are_named(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", logits=np.zeros((2, 2)))
        np.save(tmp_path / "b.npy", np.zeros((2, 2)))
        (tmp_path / "b.npy").rename(tmp_path / "b.npz")
        save_file({"logits": np.zeros((2, 2))}, tmp_path / "c.safetensors")
        save_file({"scores": np.zeros((2, 2))}, tmp_path / "d.safetensors")
        save_file({"scores": np.zeros((2, 2))}, tmp_path / "e.safetensors", {"sample_ids": "{"})
        save_file({"scores": np.zeros((2, 2))}, tmp_path / "f.safetensors", {"sample_ids": '["c1"]'})
        save_file({"scores": np.zeros(2)}, tmp_path / "g.safetensors", {"sample_ids": '["c1", "c2"]'})
        for name, message in {
            "a.npz": "no array 'scores'; it has logits",
            "b.npz": "one bare array",
            "c.safetensors": "no tensor 'scores'; it has logits",
            "d.safetensors": "no sample ids; put them in d.txt beside it",
            "e.safetensors": "its metadata hold no JSON list",
            "f.safetensors": "2 rows of scores and 1 sample ids",
            "g.safetensors": "float64 of shape (2,)",
            "h.csv": "no such file of scores",
        }.items():
            with pytest.raises(UserError, match=re.escape(message)):
                read_score_file(tmp_path / name)


ROWS = {"c1": [1.0, 2.0, 3.5], "c2": [4.0, 5.0, 6.0], "c3": [7.0, 9.0, 8.0]}
MATRIX = np.array(list(ROWS.values()), dtype=np.float32)
BY_NAME = {name: np.array(row, dtype=np.float32) for name, row in ROWS.items()}


def write_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content))


class TestFilesAsTheFieldWritesThem:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize(
        "content",
        [
            BY_NAME,
            ROWS,
            {name: row[None] for name, row in BY_NAME.items()},
            {"scores": MATRIX, "sample_ids": list(ROWS)},
            {"scores": ROWS.values(), "sample_ids": tuple(ROWS), "classes": None},
        ],
        ids=["arrays by name", "lists by name", "arrays of one row", "scores and ids", "lists"],
    )
    def test_pickles(self, content: dict[str, Any], protocol: int, tmp_path: Path) -> None:
        plain = {
            name: list(value) if name == "scores" and value is not MATRIX else value for name, value in content.items()
        }
        plain = {name: value for name, value in plain.items() if value is not None}
        (tmp_path / "scores.pkl").write_bytes(pickle.dumps(plain, protocol))
        found = read_score_file(tmp_path / "scores.pkl")
        assert found.sample_ids == tuple(ROWS)
        np.testing.assert_array_equal(found.scores, MATRIX)

    @pytest.mark.parametrize("content", [MATRIX, list(MATRIX), MATRIX.tolist()], ids=["matrix", "rows", "lists"])
    @pytest.mark.parametrize("names", ["txt", "json", "npy", "pkl", "csv"])
    def test_rows_without_names_and_a_file_of_names(self, content: Any, names: str, tmp_path: Path) -> None:
        write_pickle(tmp_path / "result.pkl", content)
        np.save(tmp_path / "result.npy", content)
        place, listed = tmp_path / f"names.{names}", list(ROWS)
        if names == "npy":
            np.save(place, np.array(listed))
        elif names == "pkl":
            write_pickle(place, (listed, [0, 1, 2]))
        else:
            text = {"txt": "\n".join(listed), "json": json.dumps(listed), "csv": "\n".join(["sample_id", *listed])}
            place.write_text(text[names])
        for path in (tmp_path / "result.pkl", tmp_path / "result.npy"):
            found = read_score_file(path, place)
            assert found.sample_ids == tuple(ROWS)
            np.testing.assert_array_equal(found.scores, MATRIX)

    def test_names_of_a_bare_array_may_lie_beside_it(self, tmp_path: Path) -> None:
        np.save(tmp_path / "scores.npy", MATRIX)
        with pytest.raises(UserError, match=r"no sample ids; put them in scores.txt beside it"):
            read_score_file(tmp_path / "scores.npy")
        (tmp_path / "scores.txt").write_text("c1\nc2\nc3\n")
        assert read_score_file(tmp_path / "scores.npy").sample_ids == tuple(ROWS)

    def test_names_and_rows_may_be_a_pair(self, tmp_path: Path) -> None:
        write_pickle(tmp_path / "scores.pkl", (list(ROWS), MATRIX))
        found = read_score_file(tmp_path / "scores.pkl")
        assert found.sample_ids == tuple(ROWS)
        np.testing.assert_array_equal(found.scores, MATRIX)

    def test_json(self, tmp_path: Path) -> None:
        (tmp_path / "scores.json").write_text("\ufeff" + json.dumps(ROWS), encoding="utf-8")
        found = read_score_file(tmp_path / "scores.json")
        assert found.sample_ids == tuple(ROWS)
        np.testing.assert_array_equal(found.scores, MATRIX)

    @pytest.mark.parametrize("suffix", ["npz", "npy", "pkl", "json", "safetensors"])
    def test_a_file_may_hold_several_runs(self, suffix: str, tmp_path: Path) -> None:
        path, ids = tmp_path / f"scores.{suffix}", list(ROWS)
        runs = np.stack([MATRIX, -MATRIX])
        (tmp_path / "scores.txt").write_text("\n".join(ids))
        if suffix == "npz":
            np.savez(path, scores=runs, sample_ids=np.array(ids))
        elif suffix == "npy":
            np.save(path, runs)
        elif suffix == "pkl":
            write_pickle(path, {"scores": runs, "sample_ids": ids})
        elif suffix == "json":
            path.write_text(json.dumps({"scores": runs.tolist(), "sample_ids": ids}))
        else:
            save_file({"scores": runs}, path)
        first, second = read_score_files(path)
        np.testing.assert_array_equal(second.scores, -MATRIX)
        assert (first.label, second.label) == (f"scores.{suffix}, run 1", f"scores.{suffix}, run 2")
        with pytest.raises(UserError, match="holds the scores of 2 runs; give a file of one"):
            read_score_file(path)

    @pytest.mark.parametrize(
        ("given_ids", "wanted"),
        [
            (("test_0", "test_1", "test_10"), ("test-000000", "test-000001", "test-000010")),
            (
                ("S001C001P001R001A001.skeleton", "S001C001P001R001A010.skeleton"),
                ("S001C001P001R001A001", "S001C001P001R001A010"),
            ),
            (("clips/a.npy", "clips/b.npy"), ("a", "b")),
            (("cafe\u0301 1", "cafe\u0301 2"), ("caf\u00e9 1", "caf\u00e9 2")),
            (("D:\\clips\\a 1.avi", "D:\\clips\\a 2.avi"), ("a_1", "a_2")),
        ],
    )
    def test_ids_may_have_folders_and_endings_and_numbers_without_zeros(
        self, given_ids: tuple[str, ...], wanted: tuple[str, ...]
    ) -> None:
        scores = np.arange(1.0, 2 * len(wanted) + 1).reshape(-1, 2)
        file = ScoreFile(Path("s.pkl"), given_ids[::-1], scores, None)
        np.testing.assert_array_equal(file.aligned(wanted, ("a", "b")), scores[::-1])

    def test_ids_that_are_alike_are_never_taken_for_one_another(self) -> None:
        file = ScoreFile(Path("s.pkl"), ("a-1", "a_1"), np.ones((2, 2)), None)
        with pytest.raises(UserError, match="1 of the 2 test clips are missing: a 1"):
            file.aligned(("a-1", "a 1"), ("a", "b"))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"c1": Path("x")}, "do not trust this file"),
            ({"c1": np.array([1j, 2])}, "dtype 'c16'; only numbers are read"),
            ({"c1": np.array(["a", "b"])}, "only numbers are read"),
            ({"c1": ["a", "b"]}, "scores are <U1 of shape"),
            ({"c1": [1.0, 2.0], "c2": [1.0]}, "has 2 scores for clip c1 and another number for c2"),
            ({"scores": [[1.0, 2.0]], "sample_ids": "c1"}, "holds no list of names"),
            (
                {"scores": [[1.0, 2.0]], "sample_ids": ["c1"], "classes": ["a"]},
                "2 columns of scores and 1 names of classes",
            ),
            ({1: [1.0, 2.0]}, "has a key that is no short text"),
            ({}, "no sample ids"),
            ([[1.0, 2.0], [1.0]], "no sample ids"),
            ({"scores": [[1.0, 2.0], [1.0]], "sample_ids": ["c1", "c2"]}, "not a readable file of scores"),
            (None, "no sample ids"),
        ],
    )
    def test_pickles_of_anything_else_are_refused_in_one_line(
        self, content: object, message: str, tmp_path: Path
    ) -> None:
        write_pickle(tmp_path / "scores.pkl", content)
        with pytest.raises(UserError) as caught:
            read_score_file(tmp_path / "scores.pkl")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_no_pickle_runs_anything(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
                return Path.touch, (tmp_path / "sprung",)

        for name in ("a.pkl", "a.npy", "a.txt"):
            write_pickle(tmp_path / name, {"c1": Trap()})
        np.save(tmp_path / "b.npy", MATRIX)
        for path, samples in (
            (tmp_path / "a.pkl", None),
            (tmp_path / "a.npy", None),
            (tmp_path / "b.npy", tmp_path / "a.pkl"),
        ):
            with pytest.raises(UserError):
                read_score_file(path, samples)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    @pytest.mark.parametrize("index", ["ids", "named ids", "numbers beside ids"])
    def test_tables_with_the_index_that_pandas_writes(self, index: str, suffix: str, tmp_path: Path) -> None:
        frame = pd.DataFrame(MATRIX, index=list(ROWS), columns=CLASSES)
        if index != "ids":
            frame.index.name = "sample_id"
        frame = frame.reset_index() if index == "numbers beside ids" else frame
        path = tmp_path / f"scores.{suffix}"
        frame.to_csv(path) if suffix == "csv" else frame.to_parquet(path)
        found = read_score_file(path)
        assert (found.sample_ids, found.columns) == (tuple(ROWS), CLASSES)
        np.testing.assert_array_equal(found.scores, MATRIX)

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_whole_numbers_of_64_bits_in_tables(self, suffix: str, tmp_path: Path) -> None:
        big = 2**62
        frame = pd.DataFrame({"sample_id": ["c1", "c2"], "a": [big + 1, -5], "b": [big, 7], "c": [0.5, 0.25]})
        signs = pd.DataFrame({"sample_id": ["c1", "c2"], "a": [2**64 - 1, 1], "b": [2**64 - 2, 0], "c": [-(2**63), 2]})
        for table, winners in ((frame, [0, 1]), (frame.drop(columns="c"), [0, 1]), (signs, [0, 2])):
            path = tmp_path / f"s.{suffix}"
            table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path, index=False)
            file = read_score_file(path)
            scores = file.aligned(("c1", "c2"), file.columns or ())
            assert scores.argmax(axis=1).tolist() == winners
            assert (scores[0] == scores[0].max()).sum() == 1

    @pytest.mark.parametrize(
        ("column", "shown"), [([True, False], "True"), ([None, "2"], "'2'"), (["1+2j", "3"], "'1"), (["1", "x"], "'x'")]
    )
    def test_a_column_of_no_numbers_is_named(self, column: list[object], shown: str, tmp_path: Path) -> None:
        pd.DataFrame({"sample_id": ["c1", "c2"], "a": column}).to_parquet(tmp_path / "s.parquet")
        if shown == "'2'":
            assert np.isnan(read_score_file(tmp_path / "s.parquet").scores[0, 0])
            return
        with pytest.raises(UserError, match=re.escape(f"{shown}")):
            read_score_file(tmp_path / "s.parquet")


NAMES = st.lists(
    st.text(min_size=1, max_size=12).filter(lambda name: name.isprintable() and name == name.strip()),
    min_size=1,
    max_size=6,
    unique=True,
)


class TestClassNames:
    @try_all(NAMES)
    @example(["turn +90", "turn -90"])
    @example(["C", "C++", "C#", "c"])
    @example(["\u00e9", "e\u0301"])
    @example(["sample_id", "sample_id.1", "Unnamed: 0"])
    @example(["a", "a.1", "a.2"])
    @example(['say "hi", twice', "=1+1", "'", ",", ";"])
    @example(["NA", "nan", "null", "1", "01", "0.10", "1e3", "True"])
    @example(["1", "2", "3"])
    def test_what_a_template_names_is_always_read_back(self, classes: list[str]) -> None:
        task: Any = SimpleNamespace(sample_ids=["c1", "c2"], classes=tuple(classes))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "t.csv"
            write_template(path, task)
            file = read_score_file(path)
        assert file.columns == tuple(classes)
        assert file.sample_ids == ("c1", "c2")
        scores = np.arange(1.0, 2 * len(classes) + 1).reshape(2, -1)
        filled = ScoreFile(path, file.sample_ids, scores[:, ::-1], (file.columns or ())[::-1])
        np.testing.assert_array_equal(filled.aligned(("c1", "c2"), classes), scores)

    @pytest.mark.parametrize("columns", [("0", "1", "2"), ("2", "3", "4")])
    def test_numbers_that_are_names_of_some_classes_are_no_label_order(self, columns: tuple[str, ...]) -> None:
        with pytest.raises(UserError, match="its columns are not the task's classes"):
            given(columns=columns).aligned(("c1", "c2", "c3"), ("1", "2", "3"))

    def test_columns_may_be_called_by_the_labels_of_some_classes(self) -> None:
        for columns in (("9", "4", "7"), ("A010", "A005", "A008"), ("3", "1", "2"), ("2", "0", "1")):
            aligned = given(columns=columns).aligned(("c1", "c2", "c3"), CLASSES, labels=(4, 7, 9))
            np.testing.assert_array_equal(aligned, given().scores[:, [1, 2, 0]])


class TestAligning:
    def test_rows_and_named_columns_may_stand_in_any_order(self) -> None:
        mixed = given(
            sample_ids=("c3", "c1", "c2"),
            scores=np.arange(9.0).reshape(3, 3)[[2, 0, 1]][:, [1, 2, 0]],
            columns=("Sit-Down", "stand_up", "WALK"),
        )
        np.testing.assert_array_equal(mixed.aligned(("c1", "c2", "c3"), CLASSES), np.arange(9.0).reshape(3, 3))

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [(None, [0, 1, 2]), (("0", "1", "2"), [0, 1, 2]), (("A003", "A001", "A002"), [1, 2, 0])],
    )
    def test_columns_without_class_names_are_in_label_order(
        self, columns: tuple[str, ...] | None, expected: list[int]
    ) -> None:
        aligned = given(columns=columns).aligned(("c1", "c2", "c3"), CLASSES)
        np.testing.assert_array_equal(aligned, given().scores[:, expected])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"sample_ids": ("c1", "c2", "c2")}, "1 sample id is there more than once: c2"),
            ({"sample_ids": ("c1", "c2", "c9")}, "1 of the 3 test clips are missing: c3"),
            (
                {"sample_ids": ("c1", "c2", "c3", "d1", "d2", "d3", "d4"), "scores": np.zeros((7, 3))},
                "4 sample ids are no test clip of the task: d1, d2, d3 and 1 more",
            ),
            ({"scores": np.full((3, 3), np.nan)}, "clip c1, class 'walk', is nan"),
            ({"scores": np.array([[0, 0, 1], [0, -np.inf, 0], [0, 0, 1]])}, "clip c2, class 'sit down', is -inf"),
            ({"scores": np.ones((3, 3)) * 1j}, "must be real numbers, not complex128"),
            ({"scores": np.zeros((3, 3))}, "every score is 0, as in a template"),
            (
                {"scores": np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0]])},
                "2 of the 3 test clips is 0, as in a template: c2, c3",
            ),
            (
                {"scores": np.zeros((3, 4)), "columns": None},
                "4 columns of scores, and the task has 3 candidate classes",
            ),
            (
                {"scores": np.zeros((3, 4)), "columns": (*CLASSES, "label")},
                "3 candidate classes (with label)",
            ),
            ({"columns": ("walk", "sit down", "jump")}, "(without stand up, with jump)"),
            ({"columns": ("walk", "walk", "sit down")}, "walk names more than one column"),
            ({"columns": ("a0", "b1", "c2")}, "(without walk, sit down, stand up, with a0, b1, c2)"),
            ({"columns": ("walk", "Walk", "sit down")}, "(without stand up, with Walk)"),
        ],
    )
    def test_what_does_not_fit_is_said_in_one_line(self, changes: dict[str, object], message: str) -> None:
        with pytest.raises(UserError) as caught:
            given(**changes).aligned(("c1", "c2", "c3"), CLASSES)
        assert message in str(caught.value)
        assert "; " in str(caught.value), "how to mend it"
        assert "\n" not in str(caught.value)


def plain(scored_task: ScoredTask) -> object:
    return scored_task.calibration(None, None)


def written(file: ScoreFile, folder: Path) -> ScoreFile:
    path = folder / "theirs.csv"
    write_csv(path, file)
    return read_score_file(path)


def stored_run(
    scored_task: ScoredTask, folder: Path, name: str = "theirs", seed: int = 0, setting: Setting = Setting.INDUCTIVE
) -> Stored:
    file = written(score_file(scored_task, synthetic_scores(scored_task, seed)), folder)
    return ForeignRun(scored_task, name, seed, file, scored_task.calibration(None, None), setting).store(
        folder / "results"
    )


class TestJudging:
    def test_figures_are_those_of_scikit_learn(self, supervised: ScoredTask) -> None:
        scores = synthetic_scores(supervised)
        scored = supervised.scored(score_file(supervised, scores), supervised.calibration(None, None))
        truth = [supervised.classes.index(supervised.classes[label]) for label in supervised.protocol.test_rows.columns]
        assert METRICS.get("top1")(scored) == pytest.approx(accuracy_score(truth, scores.argmax(axis=1)))
        assert METRICS.get("macro_top1")(scored) == pytest.approx(balanced_accuracy_score(truth, scores.argmax(axis=1)))

    def test_a_calibration_as_given_lowers_the_seen_classes(self, zero_shot: ScoredTask) -> None:
        file = score_file(zero_shot)
        raw, lowered = (zero_shot.scored(file, zero_shot.calibration(value, None)) for value in (0.0, 100.0))
        assert METRICS.get("gzsl_seen")(lowered) == 0
        assert METRICS.get("gzsl_unseen")(lowered) == METRICS.get("zsl_top1")(lowered) == METRICS.get("zsl_top1")(raw)

    @pytest.mark.parametrize("all_classes", [True, False], ids=["all classes", "seen classes alone"])
    def test_a_calibration_is_fitted_on_validation_scores(self, zero_shot: ScoredTask, all_classes: bool) -> None:
        protocol = zero_shot.protocol
        problem = protocol.selection_problem()
        assert problem.validation is not None
        labels, seen = problem.validation.labels, problem.classes.seen
        generator = np.random.default_rng(4)
        scores = generator.normal(size=(len(labels), len(seen))).astype(np.float32)
        scores[np.arange(len(labels)), labels] += 1
        scores[:, seen] += 2
        columns, names = scores, problem.classes.names
        if all_classes:
            columns = np.full((len(labels), len(zero_shot.classes)), 99.0)
            columns[:, protocol.classes.seen] = scores
            names = zero_shot.classes
        file = ScoreFile(Path("held-out.csv"), tuple(protocol.validation_sample_ids()), columns, tuple(names))
        found = zero_shot.calibration(None, file)
        assert found.value == pytest.approx(fit_calibration(scores, labels, seen))
        assert 0.5 < found.value < 4
        assert found.source == "validation"

    def test_a_calibration_that_makes_no_sense_is_refused(self, zero_shot: ScoredTask, supervised: ScoredTask) -> None:
        file = score_file(zero_shot)
        for scored_task, value, validation, message in (
            (supervised, 0.5, None, "only zero-shot tasks have a calibration"),
            (zero_shot, 0.5, file, "both set the calibration"),
            (zero_shot, float("nan"), None, "a finite number"),
            (zero_shot, None, file, "validation clips are missing"),
        ):
            with pytest.raises(UserError, match=message):
                scored_task.calibration(value, validation)
        assert zero_shot.calibration(None, None).source == "none"
        assert "raw scores" in zero_shot.calibration(None, None).note

    def test_judging_reads_no_text(self, toy_data_root: Path, tmp_path: Path) -> None:
        absent = ScoredTask(load_task("zero-shot/nw-ucla[split=8/2,text=hf:nobody/nothing]"), toy_data_root)
        with pytest.raises(UserError, match="nobody/nothing"):
            absent.protocol.final_problem()
        stored = stored_run(absent, tmp_path)
        scores, columns = synthetic_scores(absent), np.flatnonzero(~absent.protocol.classes.seen)
        truth = absent.protocol.test_rows.columns
        rows = np.isin(truth, columns)
        expected = accuracy_score(truth[rows], columns[scores[rows][:, columns].argmax(axis=1)])
        assert stored.result.metrics["zsl_top1"].value == pytest.approx(expected)

    def test_a_template_is_a_file_of_scores_once_it_is_filled_in(self, supervised: ScoredTask, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        assert write_template(path, supervised) == len(supervised.sample_ids)
        assert set(path.read_text().splitlines()[1].split(",")[1:]) == {"0.0"}, "written as the numbers to put there"
        with pytest.raises(UserError, match="every score is 0, as in a template"):
            supervised.scored(read_score_file(path), supervised.calibration(None, None))
        path.write_text(path.read_text().replace(",0.0\n", ",1.0\n"))
        scored = supervised.scored(read_score_file(path), supervised.calibration(None, None))
        assert (scored.scores.argmax(axis=1) == len(supervised.classes) - 1).all()


class TestUnseenClassesAlone:
    """Files of the conventional zero-shot setting: clips, columns or both of the unseen classes alone."""

    @pytest.fixture(params=["clips and columns", "named columns", "numbered columns", "clips", "columns"])
    def part(self, request: pytest.FixtureRequest, zero_shot: ScoredTask) -> ScoreFile:
        scores, columns = synthetic_scores(zero_shot), np.flatnonzero(~zero_shot.protocol.classes.seen)
        rows = np.flatnonzero(np.isin(zero_shot.protocol.test_rows.columns, columns))
        rows = np.arange(len(scores)) if request.param == "columns" else np.random.default_rng(1).permutation(rows)
        columns = np.arange(len(zero_shot.classes)) if request.param == "clips" else columns
        names: dict[str, Callable[[int], str]] = {
            "named columns": lambda column: zero_shot.classes[column].upper(),
            "numbered columns": lambda column: f"A{column + 1:03d}",
        }
        named = tuple(map(names[request.param], columns)) if request.param in names else None
        ids = tuple(zero_shot.sample_ids[row] for row in rows)
        return ScoreFile(Path("zsl.npy"), ids, scores[np.ix_(rows, columns)], named)

    def test_their_figures_are_those_of_the_whole_file_and_others_are_unknown(
        self, part: ScoreFile, zero_shot: ScoredTask
    ) -> None:
        none = zero_shot.calibration(None, None)
        whole, of_part = zero_shot.scored(score_file(zero_shot), none), zero_shot.scored(part, none)
        assert zero_shot.metrics(part) == ("zsl_top1", "zsl_macro_top1")
        for name in zero_shot.metrics(part):
            assert METRICS.get(name)(of_part) == METRICS.get(name)(whole)
        assert zero_shot.metrics(score_file(zero_shot)) == zero_shot.task.card.metrics

    def test_a_stored_one_has_no_other_figures_in_tables(
        self, part: ScoreFile, zero_shot: ScoredTask, tmp_path: Path
    ) -> None:
        np.save(tmp_path / "zsl.npy", part.scores)
        file = replace(part, path=tmp_path / "zsl.npy")
        for seed in (0, 1):
            run = ForeignRun(zero_shot, "theirs", seed, file, zero_shot.calibration(None, None))
            stored = run.store(tmp_path / "results")
        whole = stored_run(zero_shot, tmp_path, name="whole")
        assert stored.result.metrics["zsl_top1"].value == whole.result.metrics["zsl_top1"].value
        rows = leaderboard(stored_results(tmp_path / "results")).set_index("method")
        assert rows.loc["theirs", "zsl_top1"] == rows.loc["whole", "zsl_top1"]
        assert np.isnan(rows.loc["theirs", ["gzsl_seen", "gzsl_unseen", "gzsl_h", "ausuc"]].astype(float)).all()
        assert "unseen classes alone" in rows.loc["theirs", "notes"]
        report = build_report(tmp_path / "results", tmp_path / "reports")
        assert "unseen classes alone" in report.page.read_text(encoding="utf-8")

    def test_a_seed_of_them_stands_apart_from_one_of_all_classes(
        self, part: ScoreFile, zero_shot: ScoredTask, tmp_path: Path
    ) -> None:
        whole = stored_run(zero_shot, tmp_path, seed=0)
        np.save(tmp_path / "zsl.npy", part.scores)
        file = replace(part, path=tmp_path / "zsl.npy")
        for seed in (0, 1):
            run = ForeignRun(zero_shot, "theirs", seed, file, zero_shot.calibration(None, None))
            assert run.store(tmp_path / "results").folder != whole.folder
        rows = leaderboard(stored_results(tmp_path / "results")).sort_values("seeds")
        assert rows["seeds"].tolist() == [1, 2]
        assert rows["gzsl_unseen"].notna().tolist() == [True, False]

    def test_two_of_them_are_compared_by_what_they_tell(
        self, part: ScoreFile, toy_data_root: Path, tmp_path: Path
    ) -> None:
        sides = []
        for name in ("a", "b"):
            named = {} if part.columns is None else {"classes": np.array(part.columns)}
            np.savez(tmp_path / f"{name}.npz", scores=part.scores, sample_ids=np.array(part.sample_ids), **named)
            sides.append(entry_of_scores(tmp_path / f"{name}.npz", ZERO_SHOT, toy_data_root))
        (compared,) = compare([sides[0]], [sides[1]], ("a", "b"), resamples=50).tasks
        assert [each.metric for each in compared.metrics] == ["zsl_top1", "zsl_macro_top1"]
        assert compared.main.paired.difference == 0

    def test_no_calibration_goes_with_them(self, part: ScoreFile, zero_shot: ScoredTask) -> None:
        with pytest.raises(UserError, match="which no calibration changes; leave the calibration out"):
            zero_shot.scored(part, zero_shot.calibration(0.5, None))

    def test_a_clip_that_is_missing_is_named(self, zero_shot: ScoredTask) -> None:
        columns = np.flatnonzero(~zero_shot.protocol.classes.seen)
        of_unseen = np.isin(zero_shot.protocol.test_rows.columns, columns)
        first, *ids = (zero_shot.sample_ids[row] for row in np.flatnonzero(of_unseen))
        file = ScoreFile(Path("zsl.npy"), tuple(ids), np.ones((len(ids), len(columns))), None)
        with pytest.raises(UserError, match=f"1 of the .* unseen classes' test clips are missing: {first}"):
            zero_shot.scored(file, zero_shot.calibration(None, None))


class TestStoring:
    def test_a_stored_run_is_a_result_that_says_it_is_foreign(self, supervised: ScoredTask, tmp_path: Path) -> None:
        stored = stored_run(supervised, tmp_path)
        again = Stored.read(stored.folder)
        assert again is not None
        result = again.result
        assert result.notes["foreign"] is True
        assert result.notes["file"] == "theirs.csv"
        assert (result.selection.rule, result.method.preset) == ("unknown", "foreign")
        expected = supervised.scored(score_file(supervised), supervised.calibration(None, None))
        assert result.metrics["top1"].value == pytest.approx(METRICS.get("top1")(expected))
        np.testing.assert_array_equal(again.scored().scores, expected.scores)

    def test_tables_show_it(self, supervised: ScoredTask, tmp_path: Path) -> None:
        jobs = [stored_run(supervised, tmp_path, seed=seed, setting=Setting.TRANSDUCTIVE) for seed in (0, 1)]
        (row,) = leaderboard(jobs).to_dict("records")
        assert (row["method"], row["preset"], row["selection"], row["seeds"]) == ("theirs", "foreign", "unknown", 2)
        assert row["setting"] == "transductive"
        assert set(read_results(tmp_path / "results")["selection"]) == {"unknown"}

    def test_the_command_of_a_row_has_its_calibration_and_every_seed(
        self, zero_shot: ScoredTask, tmp_path: Path
    ) -> None:
        for seed, calibration in ((0, 1.5), (2, 1.5)):
            file = written(score_file(zero_shot, synthetic_scores(zero_shot, seed)), tmp_path)
            ForeignRun(zero_shot, "theirs", seed, file, zero_shot.calibration(calibration, None)).store(tmp_path)
        (group,) = group_jobs(stored_results(tmp_path))
        first, second = (command.split(" --task ") for command in group.command.split(" && "))
        assert first[0] == second[0] == "mmcl-bench score theirs.csv"
        assert first[1].endswith("--name theirs --calibration 1.5 --store")
        assert second[1].endswith("--name theirs --seed 2 --calibration 1.5 --store")

    def test_a_second_file_takes_the_place_of_the_first(self, supervised: ScoredTask, tmp_path: Path) -> None:
        first = stored_run(supervised, tmp_path)
        written_anew = score_file(supervised, synthetic_scores(supervised, 5))
        second = ForeignRun(
            supervised, "theirs", 0, written(written_anew, tmp_path), supervised.calibration(None, None)
        ).store(tmp_path / "results")
        assert second.folder == first.folder
        np.testing.assert_allclose(second.scores, written_anew.scores, rtol=1e-6)

    def test_a_fitted_calibration_keeps_its_validation_scores(self, zero_shot: ScoredTask, tmp_path: Path) -> None:
        sample_ids = zero_shot.protocol.validation_sample_ids()
        scores = np.random.default_rng(0).normal(size=(len(sample_ids), len(zero_shot.classes)))
        calibration = zero_shot.calibration(None, ScoreFile(Path("v.csv"), tuple(sample_ids), scores, None))
        file = written(score_file(zero_shot), tmp_path)
        stored = ForeignRun(zero_shot, "theirs", 0, file, calibration).store(tmp_path)
        kept = stored.validation()
        assert kept is not None
        assert kept.sample_ids == tuple(sample_ids)
        assert stored.result.selection.n_validation == len(sample_ids)
        assert stored.result.selection.rule == "unknown", "how the epoch was chosen is not known for that"

    def test_a_name_may_be_longer_than_a_file_s(self, supervised: ScoredTask, tmp_path: Path) -> None:
        name = "n" * 240
        stored = stored_run(supervised, tmp_path, name=name)
        again = Stored.read(stored.folder)
        assert again is not None
        assert again.result.method.name == name

    @pytest.mark.parametrize("name", ["mmcl", "chance", FUSION, "Their Method", "", "-x", "../up"])
    def test_a_name_of_ours_or_of_no_method_is_refused(self, name: str, supervised: ScoredTask, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="--name"):
            stored_run(supervised, tmp_path, name=name)
