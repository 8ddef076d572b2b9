"""Scores of other codebases: read as data, joined by sample id, judged as our own, stored and marked as foreign."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.metrics import METRICS, fit_calibration
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.store import Stored, read_results
from mmcl_bench.running.foreign import ForeignRun, ScoredTask, write_template
from mmcl_bench.running.fusion import FUSION
from mmcl_bench.running.score_files import ScoreFile, read_score_file
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
            supervised, "theirs", 0, written(score_file(supervised), tmp_path), plain(supervised), False
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
            ({"scores": np.full((3, 3), np.nan)}, "clip c1, class 'walk' is nan"),
            ({"scores": np.array([[0, 0, 1], [0, -np.inf, 0], [0, 0, 1]])}, "clip c2, class 'sit down' is -inf"),
            ({"scores": np.ones((3, 3)) * 1j}, "must be real numbers, not complex128"),
            ({"scores": np.zeros((3, 3))}, "every score is 0, as in a template"),
            ({"scores": np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0]])}, "2 of the 3 test clips is 0, as in a template: c2, c3"),
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
    scored_task: ScoredTask, folder: Path, name: str = "theirs", seed: int = 0, transductive: bool = False
) -> Stored:
    file = written(score_file(scored_task, synthetic_scores(scored_task, seed)), folder)
    return ForeignRun(scored_task, name, seed, file, scored_task.calibration(None, None), transductive).store(
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
        jobs = [stored_run(supervised, tmp_path, seed=seed, transductive=True) for seed in (0, 1)]
        (row,) = leaderboard(jobs).to_dict("records")
        assert (row["method"], row["preset"], row["selection"], row["seeds"]) == ("theirs", "foreign", "unknown", 2)
        assert row["setting"] == "transductive"
        assert set(read_results(tmp_path / "results")["selection"]) == {"unknown"}

    def test_a_second_file_takes_the_place_of_the_first(self, supervised: ScoredTask, tmp_path: Path) -> None:
        first = stored_run(supervised, tmp_path)
        written_anew = score_file(supervised, synthetic_scores(supervised, 5))
        second = ForeignRun(
            supervised, "theirs", 0, written(written_anew, tmp_path), supervised.calibration(None, None), False
        ).store(tmp_path / "results")
        assert second.folder == first.folder
        np.testing.assert_allclose(second.scores, written_anew.scores, rtol=1e-6)

    def test_a_fitted_calibration_keeps_its_validation_scores(self, zero_shot: ScoredTask, tmp_path: Path) -> None:
        sample_ids = zero_shot.protocol.validation_sample_ids()
        scores = np.random.default_rng(0).normal(size=(len(sample_ids), len(zero_shot.classes)))
        calibration = zero_shot.calibration(None, ScoreFile(Path("v.csv"), tuple(sample_ids), scores, None))
        file = written(score_file(zero_shot), tmp_path)
        stored = ForeignRun(zero_shot, "theirs", 0, file, calibration, False).store(tmp_path)
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
