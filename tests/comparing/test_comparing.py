"""Two sides of a comparison are found, paired by seed and sample id, and refused where figures do not compare."""

from __future__ import annotations

import math
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from mmcl_bench.comparing import sides
from mmcl_bench.comparing.paired import compare
from mmcl_bench.comparing.records import Comparison, Entry, Leaderboard, Sheet, Side
from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.statistics import holm
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.results.groups import matches
from mmcl_bench.results.store import Stored, stored_results, write_result
from mmcl_bench.running.foreign import ForeignRun, ScoredTask, entry_of_scores
from mmcl_bench.running.score_files import read_score_file
from stored_jobs import leaderboard, stored_job

TASK = "supervised/nw-ucla[split=x-view]"
RESAMPLES = 300


@pytest.fixture(scope="module")
def judges(toy_data_root: Path) -> dict[str, ScoredTask]:
    names = {"view": TASK, "sub": "supervised/nw-ucla[split=x-sub]", "zero": "zero-shot/nw-ucla[split=8/2]"}
    return {key: ScoredTask(load_task(name, toy_data_root), toy_data_root) for key, name in names.items()}


def synthetic(judge: ScoredTask, seed: int, gain: float) -> np.ndarray:
    """Synthetic scores, right the more often the larger the gain."""
    truth = judge.protocol.test_rows.columns
    scores = np.random.default_rng(seed).normal(size=(len(truth), len(judge.classes)))
    scores[np.arange(len(truth)), truth] += gain
    return scores.astype(np.float32)


def store(judge: ScoredTask, root: Path, name: str, seed: int = 0, gain: float = 1.5) -> Stored:
    path = root / f"{name}-{judge.task.split.replace('/', '-')}-{seed}.csv"
    root.mkdir(exist_ok=True)
    frame = pd.DataFrame(synthetic(judge, seed + len(name), gain), columns=list(judge.classes))
    frame.insert(0, "sample_id", judge.sample_ids)
    frame.to_csv(path, index=False)
    return ForeignRun(judge, name, seed, read_score_file(path), judge.calibration(None, None)).store(root)


def rewritten(stored: Stored, folder: Path, **task: object) -> Stored:
    """A copy whose task record differs."""
    result = stored.result.model_copy(update={"task": stored.result.task.model_copy(update=task)})
    (folder / "jobs").mkdir(parents=True, exist_ok=True)
    place = folder / "jobs" / stored.folder.name
    place.mkdir()
    for name in result.files:
        (place / name).write_bytes((stored.folder / name).read_bytes())
    return write_result(place, result)


@pytest.fixture(scope="module")
def root(judges: dict[str, ScoredTask], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic results of a strong and a weak method, two seeds on two tasks, and one of a zero-shot task."""
    folder = tmp_path_factory.mktemp("compared")
    for key in ("view", "sub"):
        for seed in (0, 1):
            store(judges[key], folder, "strong", seed, 2.5)
            store(judges[key], folder, "weak-one", seed, 0.8)
    store(judges["zero"], folder, "strong", 0, 2.0)
    return folder


def find_side(text: str, root: Path, task: str = "*", data_root: Path | None = None) -> Side:
    """As ``mmcl-bench compare`` finds it."""
    return sides.find_side(text, root, task, partial(entry_of_scores, task=task, data_root=data_root))


def compared(a: str, b: str, root: Path, task: str = "*", metric: str | None = None) -> Comparison:
    return compare(find_side(a, root, task), find_side(b, root, task), (a, b), metric, RESAMPLES)


def runs_of(root: Path, name: str, split: str) -> list[Stored]:
    found = [stored for stored in stored_results(root) if stored.result.method.name == name]
    return [stored for stored in found if stored.result.task.split == split]


class TestMethods:
    def test_are_compared_on_every_task_of_both(self, root: Path) -> None:
        found = compared("strong", "weak-one", root)
        assert [task.task.split for task in found.tasks] == ["x-sub", "x-view"]
        assert found.notes == ("left out: 1 task that only strong has: zero-shot/nw-ucla@3[split=8/2]",)
        for task in found.tasks:
            assert task.main.paired.low > 0
            assert task.main.paired.n_runs == 2
            assert task.main.a - task.main.b == pytest.approx(task.main.paired.difference)

    def test_difference_is_that_of_the_stored_figures(self, root: Path) -> None:
        (task,) = compared("strong", "weak-one", root, "supervised/nw-ucla[split=x-view]").tasks
        figures = [
            np.mean([stored.result.metrics["top1"].value for stored in runs_of(root, name, "x-view")])
            for name in ("strong", "weak-one")
        ]
        assert task.main.paired.difference == pytest.approx(figures[0] - figures[1])

    def test_p_values_are_adjusted_over_tasks(self, root: Path) -> None:
        found = compared("strong", "weak-one", root)
        assert [task.main.p_holm for task in found.tasks] == pytest.approx(
            holm([task.main.paired.p_value for task in found.tasks])
        )
        assert [task.main.mcnemar_holm for task in found.tasks] == pytest.approx(
            holm([task.main.mcnemar_p for task in found.tasks])
        )

    def test_wins_and_losses_add_up(self, root: Path) -> None:
        """By the stored scores themselves: McNemar's counts, those by class and the list of changes are the same."""
        (task,) = compared("strong", "weak-one", root, "*x-view*").tasks
        won = lost = changed = 0
        for a, b in zip(runs_of(root, "strong", "x-view"), runs_of(root, "weak-one", "x-view"), strict=True):
            ours = dict(zip(a.samples["sample_id"], a.scores.argmax(axis=1), strict=True))
            theirs = dict(zip(b.samples["sample_id"], b.scores.argmax(axis=1), strict=True))
            truth = dict(zip(a.samples["sample_id"], a.samples["column"], strict=True))
            won += sum(ours[clip] == truth[clip] != theirs[clip] for clip in truth)
            lost += sum(theirs[clip] == truth[clip] != ours[clip] for clip in truth)
            changed += sum(ours[clip] != theirs[clip] for clip in truth)
        assert sum(test.won for test in task.main.mcnemar) == won == sum(row.won for row in task.classes)
        assert sum(test.lost for test in task.main.mcnemar) == lost == sum(row.lost for row in task.classes)
        assert len(task.changes) == changed
        assert [change.outcome for change in task.changes].count("won") == won
        counts = {row.name: (row.won, row.lost) for row in task.classes}
        for name, (of_class, _) in counts.items():
            assert of_class == sum(change.true == name and change.outcome == "won" for change in task.changes)

    def test_mcnemar_is_of_each_seed(self, root: Path) -> None:
        (task,) = compared("strong", "weak-one", root, "*x-view*").tasks
        for test in task.main.mcnemar:
            if test.won + test.lost < 25:
                assert test.p_value == pytest.approx(binomtest(test.won, test.won + test.lost).pvalue)
        assert task.main.mcnemar_p == pytest.approx(max(test.p_value for test in task.main.mcnemar))

    def test_turn_round(self, root: Path) -> None:
        (there,), (back,) = (
            compared(*pair, root, "*x-view*").tasks for pair in (("strong", "weak-one"), ("weak-one", "strong"))
        )
        assert there.main.paired.difference == pytest.approx(-back.main.paired.difference)
        assert [(row.won, row.lost) for row in there.classes] == [(row.lost, row.won) for row in back.classes]

    def test_may_be_compared_by_another_metric(self, root: Path) -> None:
        found = compared("strong", "weak-one", root, metric="macro_top1")
        assert {task.headline for task in found.tasks} == {"macro_top1"}
        assert all(np.isnan(task.main.mcnemar_p) for task in found.tasks)
        with pytest.raises(UserError, match="unknown supervised metric 'gzsl_h'"):
            compared("strong", "weak-one", root, metric="gzsl_h")

    def test_the_newest_version_counts(self, tmp_path: Path) -> None:
        for method, version in (("a", 1), ("a", 2), ("b", 1)):
            stored_job(tmp_path, method=method, method_version=version, skill=version)
            stored_job(tmp_path, name="other", method=method, skill=0.1)
        found = compared("a", "b", tmp_path)
        assert [(task.task.identity, task.a.label) for task in found.tasks] == [
            ("supervised/toy@1", "a (quick), version 2")
        ]

    def test_repeat_themselves(self, root: Path) -> None:
        first, again = (compared("strong", "weak-one", root, "*x-view*") for _ in range(2))
        assert first.tasks[0].main == again.tasks[0].main


class TestZeroShot:
    @pytest.mark.parametrize(("metric", "allowed"), [("zsl_top1", "unseen"), ("gzsl_h", "all")])
    def test_answers_are_those_of_the_metrics_contest(
        self, judges: dict[str, ScoredTask], tmp_path: Path, metric: str, allowed: str
    ) -> None:
        jobs = [store(judges["zero"], tmp_path, name, gain=gain) for name, gain in (("one", 0.5), ("other-one", 0.2))]
        (task,) = compared("one", "other-one", tmp_path, metric=metric).tasks
        scored, other = (job.scored() for job in jobs)
        kept = np.ones_like(scored.seen) if allowed == "all" else ~scored.seen
        rows = np.flatnonzero(kept[scored.labels])
        ours, theirs = (np.where(kept, each.scores, -np.inf)[rows].argmax(axis=1) for each in (scored, other))
        names = np.array(task.a.classes)
        assert sorted((change.a, change.b) for change in task.changes) == sorted(
            (names[a], names[b]) for a, b in zip(ours, theirs, strict=True) if a != b
        )


class TestOtherSides:
    def test_a_job_by_folder_and_by_hash(self, root: Path) -> None:
        a, b = runs_of(root, "strong", "x-view")[0], runs_of(root, "weak-one", "x-view")[1]
        found = compared(str(a.folder), b.result.job_hash[:10], root)
        (task,) = found.tasks
        assert task.notes[0] == "seed 0 against seed 1"
        assert task.main.paired.n_runs == 1

    def test_a_file_of_scores_stands_against_every_seed(self, root: Path, toy_data_root: Path) -> None:
        side = find_side(str(root / "strong-x-view-0.csv"), root, TASK, toy_data_root)
        (task,) = compare(find_side("weak-one", root), side, ("weak-one", "file"), resamples=RESAMPLES).tasks
        assert task.main.paired.n_runs == 2
        assert "compared with each seed" in task.notes[0]
        with pytest.raises(UserError, match="name it with --task"):
            find_side(str(root / "strong-x-view-0.csv"), root, "*", toy_data_root)

    def test_samples_are_joined_by_their_id(self, root: Path) -> None:
        a, b = (find_side(name, root, "*x-view*") for name in ("strong", "weak-one"))
        assert isinstance(a, list)
        assert isinstance(b, list)
        (whole,) = compare(a, b, ("a", "b"), resamples=RESAMPLES).tasks

        def turned(entry: Entry, keep: int) -> Entry:
            def sheets() -> list[Sheet]:
                return [
                    Sheet(
                        s.seed,
                        s.sample_ids[::-1][:keep],
                        s.scored.rows(np.arange(len(s.scored))[::-1][:keep]),
                    )
                    for s in entry.sheets()
                ]

            return Entry(**{**entry.__dict__, "sheets": sheets})

        (same,) = compare(a, [turned(b[0], whole.n_samples)], ("a", "b"), resamples=RESAMPLES).tasks
        assert same.main == whole.main
        (fewer,) = compare(a, [turned(b[0], 20)], ("a", "b"), resamples=RESAMPLES).tasks
        assert fewer.n_samples == 20
        assert f"{whole.n_samples - 20} samples that only" in fewer.notes[0]


class TestRefusals:
    def test_other_versions_cards_and_data_are_one_line(self, root: Path, tmp_path: Path) -> None:
        job = runs_of(root, "strong", "x-view")[0]
        ours = find_side(str(job.folder), root)
        identity = job.result.task.identity
        for at, (change, message) in enumerate(
            [
                ({"version": 3, "hash": "f" * 64, "identity": identity.replace("@2", "@3")}, "is of version 2 and"),
                ({"hash": "f" * 64}, "the card or the facts differ"),
            ]
        ):
            other = rewritten(job, tmp_path / str(at), **change)
            with pytest.raises(UserError, match=message) as caught:
                compare(ours, find_side(str(other.folder), root), ("A", "B"), resamples=RESAMPLES)
            assert "\n" not in str(caught.value)
        assert isinstance(ours, list)
        moved = [Entry(**{**ours[0].__dict__, "data": {"nw-ucla": "0"}})]
        with pytest.raises(UserError, match="the data nw-ucla are others in A than in B"):
            compare(ours, moved, ("A", "B"), resamples=RESAMPLES)

    @pytest.mark.parametrize(
        ("a", "message"),
        [
            ("strang", "Did you mean strong"),
            ("strong[preset=paper]", "no finished job has these settings; there are strong"),
            ("nothing.csv", "unknown method with finished jobs"),
        ],
    )
    def test_what_is_no_side_is_one_line(self, a: str, message: str, root: Path) -> None:
        with pytest.raises(UserError) as caught:
            find_side(a, root)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_sides_that_share_no_task_or_seed_are_named(
        self, root: Path, judges: dict[str, ScoredTask], tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="share no task: the one has supervised"):
            compare(find_side("weak-one", root), find_side("strong", root, "zero-shot/*"), ("weak-one", "strong"))
        for seed in (7, 8):
            store(judges["view"], tmp_path, "later", seed)
        with pytest.raises(UserError, match="share no seed"):
            compare(find_side("strong", root, "*x-view*"), find_side("later", tmp_path), ("strong", "later"))


class TestClassSplits:
    def test_several_splits_of_a_family_are_one_more_comparison(self, root: Path) -> None:
        """Jobs of one task under the names of three splits of a family, the split being the unit."""
        sides = []
        for name in ("strong", "weak-one"):
            side = find_side(name, root, "*x-view*")
            assert isinstance(side, list)
            entries = []
            for number in (1, 2, 3):
                split = f"55/5:sadvae-{number}"
                task = side[0].task.model_copy(
                    update={"split": split, "hash": str(number), "identity": f"zero-shot/made-up@1[split={split}]"}
                )
                entries.append(Entry(**{**side[0].__dict__, "task": task}))
            sides.append(entries)
        found = compare(*sides, ("a", "b"), resamples=RESAMPLES)
        (family,) = found.splits
        assert family.task == "zero-shot/made-up@1[split=55/5:sadvae]"
        assert (len(family.splits), family.paired.n_runs) == (3, 3)
        assert family.paired.difference == pytest.approx(found.tasks[0].main.paired.difference)
        assert family.a - family.b == pytest.approx(family.paired.difference)
        assert family.p_holm == family.paired.p_value
        assert compared("strong", "weak-one", root).splits == ()


def board(root: Path, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stored = list(stored_results(root))
    frame = leaderboard(stored)
    frame.to_csv(folder / name, index=False)
    return folder / name


class TestLeaderboards:
    def test_have_intervals_alone(self, root: Path, tmp_path: Path) -> None:
        path = board(root, tmp_path, "leaderboard.csv")
        frame = pd.read_csv(path)
        frame.loc[frame["method"] == "strong", "top1"] -= 0.05
        frame.to_csv(tmp_path / "before.csv", index=False)
        found = compared(str(path), str(tmp_path / "before.csv"), root)
        assert not found.tasks
        differences = {(row.task, row.method): row.difference for row in found.unpaired}
        assert len(differences) == 5
        for (task, method), gap in differences.items():
            expected = 0.05 if method.startswith("strong") and task.startswith("supervised") else 0
            assert gap.difference == pytest.approx(expected, abs=1e-9)
            assert gap.low < gap.difference < gap.high or gap.low == gap.high

    def test_compare_with_the_jobs_of_a_method(self, root: Path, tmp_path: Path) -> None:
        found = compared(str(board(root, tmp_path, "leaderboard.csv")), "weak-one", root)
        assert {row.method for row in found.unpaired} == {"weak-one (foreign)"}
        assert all(row.difference.difference == pytest.approx(0) for row in found.unpaired)
        assert "only" in found.notes[0]

    def test_rows_of_several_versions_of_a_method_are_the_latest(self, root: Path, tmp_path: Path) -> None:
        path = board(root, tmp_path, "leaderboard.csv")
        frame = pd.read_csv(path)
        later = frame.assign(method_version=2, top1=frame["top1"] + 0.01)
        pd.concat([later, frame]).to_csv(tmp_path / "both.csv", index=False)
        found = compared(str(tmp_path / "both.csv"), str(path), root, "supervised/*")
        assert {round(row.difference.difference, 6) for row in found.unpaired} == {0.01}
        pd.concat([frame, frame]).to_csv(tmp_path / "twice.csv", index=False)
        with pytest.raises(UserError, match="is there twice"):
            compared(str(tmp_path / "twice.csv"), str(path), root)

    def test_a_row_without_a_figure_is_left_out_and_counted(self, root: Path, tmp_path: Path) -> None:
        path = board(root, tmp_path, "leaderboard.csv")
        frame = pd.read_csv(path)
        frame.loc[0, [column for column in frame if column.startswith(frame.loc[0, "main_metric"])]] = math.nan
        frame.to_csv(tmp_path / "gap.csv", index=False)
        found = compared(str(tmp_path / "gap.csv"), str(path), root)
        assert len(found.unpaired) == len(frame) - 1
        assert found.notes == ("left out: 1 row without a figure or its interval",)

    def test_of_other_versions_are_refused(self, root: Path, tmp_path: Path) -> None:
        path = board(root, tmp_path, "leaderboard.csv")
        frame = pd.read_csv(path)
        frame.loc[0, "version"] = 3
        frame.to_csv(tmp_path / "later.csv", index=False)
        with pytest.raises(UserError, match=r"version 2 in .*leaderboard.csv and 3 in .*later.csv") as caught:
            compared(str(path), str(tmp_path / "later.csv"), root)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("column", "cell", "told"),
        [
            ("n_test", "", "row 3, column n_test is empty"),
            ("version", "", "row 3, column version is empty"),
            ("main_metric", "", "row 3, column main_metric is empty"),
            ("top1_low", "low", "row 3, column top1_low is 'low', which is no number"),
        ],
    )
    def test_a_cell_that_cannot_be_read_is_named(
        self, root: Path, tmp_path: Path, column: str, cell: str, told: str
    ) -> None:
        path = board(root, tmp_path, "leaderboard.csv")
        frame = pd.read_csv(path, dtype=str)
        frame.loc[1, column] = cell
        frame.to_csv(path, index=False)
        with pytest.raises(UserError, match=rf"leaderboard.csv: {told}; mend") as caught:
            find_side(str(path), root)
        assert "\n" not in str(caught.value)

    def test_of_a_git_revision(self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        repository = tmp_path / "repository"
        path = board(root, repository / "results", "leaderboard.csv")
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "figures"], ["tag", "v0.1"]):
            identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
            subprocess.run(["git", *identity, *words], cwd=repository, check=True)
        path.write_text(path.read_text().replace("weak-one", "other"))
        monkeypatch.chdir(repository)
        found = compared("v0.1:results/leaderboard.csv", "results/leaderboard.csv", root)
        assert {row.method for row in found.unpaired} == {"strong (foreign)"}
        monkeypatch.chdir(tmp_path)
        before = find_side(f"v0.1:{path}", root)
        assert isinstance(before, Leaderboard)
        for text in (f"v0.2:{path}", f"v0.1:{repository / 'no.csv'}", "v0.1:results/leaderboard.csv"):
            with pytest.raises(UserError, match="name a revision that has the file") as caught:
                find_side(text, root)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", True),
        ("zero-shot", True),
        ("zero-shot/*", True),
        ("zero-shot/nw-ucla", True),
        ("zero-shot/nw-ucla@2", True),
        ("zero-shot/nw-ucla[split=8/2]", True),
        ("zero-shot/nw-ucla@2[split=8/2]", True),
        ("*[split=8/*]", True),
        ("supervised*", False),
        ("zero-shot/nw-ucla[split=5/5]", False),
        ("zero-shot/nw", False),
    ],
)
def test_a_glob_takes_brackets_as_they_are(pattern: str, expected: bool) -> None:
    assert matches("zero-shot/nw-ucla@2[split=8/2]", pattern) is expected


def test_by_class_a_clip_is_right_as_the_metric_says(tmp_path: Path) -> None:
    """By top-5 a clip is right whose class is second of six, whatever the first is; of a class each, one is last."""
    truth, hot = np.arange(60) % 6, np.eye(6, dtype=np.float32)
    second = hot[(truth + 1) % 6] + hot[truth] / 2
    one_last = np.where(np.arange(60)[:, None] < 6, hot[(truth + 1) % 6] - hot[truth], second)
    for name, scores in (("ours", second), ("theirs", one_last)):
        given = {"classes": tuple("abcdef"), "labels": truth, "metrics": ("top1", "top5")}
        stored_job(tmp_path, method=name, scores=scores, **given)  # type: ignore[arg-type]
    (task,) = compared("ours", "theirs", tmp_path, metric="top5").tasks
    assert [(each.a, each.b, each.won, each.lost) for each in task.classes] == [(1.0, pytest.approx(0.9), 1, 0)] * 6
    assert {change.outcome for change in task.changes} == {"won"}
