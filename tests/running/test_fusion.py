"""A fusion is the weighted sum of what its members stored, and a result like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.settings import parse_bracketed
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.evaluation.metrics import METRICS, Scored, fit_calibration
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method, MethodSettings
from mmcl_bench.methods.shared.joints import joint_features
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.catalogue import load_task
from mmcl_bench.protocols.problem import ClipView, Context, FitReport, Problem
from mmcl_bench.report.page import build_report
from mmcl_bench.results.groups import group_jobs
from mmcl_bench.results.store import (
    VALIDATION_SCORES,
    Stored,
    read_results,
    write_result,
    write_scores,
    write_validation,
)
from mmcl_bench.running import fusion
from mmcl_bench.running.fusion import (
    FusionJob,
    fit_weights,
    fuse_scores,
    likeliest_weights,
    member_jobs,
    parse_members,
    run_fusion,
)
from mmcl_bench.running.jobs import make_job
from mmcl_bench.running.runner import RunSite, run_job
from stored_jobs import leaderboard

SUPERVISED = "supervised/nw-ucla[split=x-view]"
ZERO_SHOT = "zero-shot/nw-ucla[split=8/2]"


class Noisy(Method):
    """Closeness to the mean pose of each class, none for unseen ones, with noise."""

    name: ClassVar[str] = "noisy"
    summary: ClassVar[str] = "for this test"

    class Settings(MethodSettings):
        streams: tuple[str, ...] = ("joint",)
        noise: float = 1.0
        chooses: bool = False

    presets: ClassVar[Mapping[str, MethodSettings]] = {"quick": Settings(), "paper": Settings(noise=0.0)}
    settings: Settings

    def selects(self, family: str) -> bool:
        return self.settings.chooses or family == "zero-shot"

    def fit(self, problem: Problem, context: Context) -> FitReport:
        self._generator = np.random.default_rng(context.seed)
        self._n_classes = len(problem.classes)
        features, labels = joint_features(problem.train.clips, 1), problem.train.labels
        self._classes = np.unique(labels)
        self._means = np.stack([features[labels == label].mean(axis=0) for label in self._classes])
        return FitReport()

    def score(self, clips: ClipView) -> np.ndarray:
        scores = self._generator.normal(size=(len(clips), self._n_classes)) * self.settings.noise
        features = joint_features(clips, 1)
        scores[:, self._classes] += features @ self._means.T - (self._means**2).sum(axis=1) / 2
        return scores.astype(np.float32)


@pytest.fixture(autouse=True)
def noisy() -> Iterator[None]:
    METHODS.register("noisy")(Noisy)
    yield
    METHODS.unregister("noisy")


@pytest.fixture
def where(toy_data_root: Path, tmp_path: Path) -> RunSite:
    return RunSite(toy_data_root, tmp_path / "results")


def jobs(members: str, task: str | Task = SUPERVISED, seed: int = 0, **overrides: str) -> tuple[Any, ...]:
    bound = load_task(task) if isinstance(task, str) else task
    return member_jobs(bound, parse_members(members), seed, method="noisy", overrides=overrides)


def ran(job: FusionJob, where: RunSite) -> tuple[Stored, list[Stored]]:
    members = [run_job(each, where)[0] for each in job.members]
    return run_fusion(job, members, where.results_root)[0], members


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_logits_are_summed_by_share(where: RunSite) -> None:
    job = FusionJob(jobs("noisy[noise=1],noisy[noise=2]"), (0.6, 0.4), "logits")
    fused, (a, b) = ran(job, where)
    np.testing.assert_allclose(fused.scores, 0.6 * a.scores + 0.4 * b.scores, rtol=1e-5, atol=1e-5)
    assert fused.samples.equals(a.samples)


def test_only_the_proportions_of_weights_count() -> None:
    generator = np.random.default_rng(0)
    sheets = [generator.normal(size=(5, 3)) for _ in range(2)]
    twice, thirds = (np.array(w) / sum(w) for w in ((0.6, 0.3), (2, 1)))
    np.testing.assert_allclose(fuse_scores(sheets, twice, "logits"), fuse_scores(sheets, thirds, "logits"))


@pytest.mark.parametrize("scale", ["logits", "softmax"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_member_far_from_zero_leaves_the_others_their_say(scale: fusion.Scale, dtype: type) -> None:
    """On a grid of eighths, so that a number added to all scores of a clip is exact in either type."""
    generator = np.random.default_rng(0)
    sheets = [generator.integers(-16, 16, size=(50, 6)).astype(dtype) / dtype(8) for _ in range(2)]
    far = [sheets[0] + dtype(-(2.0**20)), sheets[1]]
    plain, shifted = (fuse_scores(given, np.array([0.5, 0.5]), scale) for given in (sheets, far))
    assert shifted.dtype == dtype
    np.testing.assert_allclose(shifted - shifted.max(1, keepdims=True), plain - plain.max(1, keepdims=True), atol=1e-5)


def test_softmax_scores_are_the_logarithm_of_mixed_probabilities() -> None:
    generator = np.random.default_rng(0)
    sheets = [generator.normal(size=(6, 4)) * scale for scale in (1, 10)]
    expected = 0.3 * softmax(sheets[0]) + 0.7 * softmax(sheets[1])
    np.testing.assert_allclose(np.exp(fuse_scores(sheets, np.array([0.3, 0.7]), "softmax")), expected, rtol=1e-5)


def test_a_scale_that_differs_matters_to_logits_alone() -> None:
    sure, loud = np.array([[3.0, 0.0, 0.0]]), np.array([[0.0, 90.0, 89.9]])
    equal = np.array([0.5, 0.5])
    assert fuse_scores([sure, loud], equal, "logits").argmax() == 1
    assert fuse_scores([sure, loud], equal, "softmax").argmax() == 0


def supervised(sheets: list[np.ndarray], labels: np.ndarray) -> list[Scored]:
    return [Scored(sheet, labels, np.ones(sheet.shape[1], dtype=bool)) for sheet in sheets]


def grid_best(sheets: list[np.ndarray], labels: np.ndarray, scale: fusion.Scale) -> tuple[float, np.ndarray]:
    """The best of a fine grid over the shares of two members, by the definition of the likelihood."""
    rows = np.arange(len(labels))
    found = []
    for share in np.linspace(0, 1, 2001):
        if scale == "logits":
            probability = softmax(share * sheets[0] + (1 - share) * sheets[1])
        else:
            probability = share * softmax(sheets[0]) + (1 - share) * softmax(sheets[1])
        found.append((np.log(probability[rows, labels]).mean(), share))
    best = max(found)
    return best[0], np.array([best[1], 1 - best[1]])


@pytest.mark.parametrize("scale", ["logits", "softmax"])
def test_fitted_weights_are_those_of_a_grid_search(scale: fusion.Scale) -> None:
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 4, size=80)
    truth = np.eye(4)[labels]
    sheets = [2 * truth + generator.normal(size=(80, 4)), 1.5 * truth + generator.normal(size=(80, 4))]
    _, expected = grid_best(sheets, labels, scale)
    assert 0.05 < expected[0] < 0.95, "a case within the simplex"
    found = likeliest_weights(supervised(sheets, labels), scale, METRICS.get("top1"))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("scale", ["logits", "softmax"])
def test_a_member_that_knows_nothing_gets_no_weight(scale: fusion.Scale) -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 3, size=200)
    good = 2 * np.eye(3)[labels] + 0.3 * generator.normal(size=(200, 3))
    bad = -2 * np.eye(3)[labels] + 0.3 * generator.normal(size=(200, 3))
    found = fit_weights(supervised([bad, good], labels), scale, METRICS.get("top1"))
    np.testing.assert_allclose(found, [0, 1], atol=1e-5)


def test_weights_are_fitted_on_validation_and_say_on_how_many_clips(where: RunSite) -> None:
    job = FusionJob(jobs("noisy[noise=0.5],noisy[noise=30]", chooses="true"), "fitted", "softmax")
    fused, members = ran(job, where)
    sheets = [sheet.scored for member in members if (sheet := member.validation())]
    assert len(sheets) == 2
    scored = sheets[0]
    expected = fit_weights(sheets, "softmax", METRICS.get("top1"))
    result = fused.result
    assert result.notes["weights"] == expected.tolist()
    assert result.notes["weights"][0] > 0.9, "the quiet member is the better one"
    assert result.notes["n_fitted_on"] == result.selection.n_validation == len(scored)
    assert result.selection.rule == "validation"


def test_validation_scores_are_of_held_out_training_clips(where: RunSite) -> None:
    (job,) = jobs("noisy[chooses=true]")
    stored, _ = run_job(job, where)
    validation = stored.validation()
    assert validation is not None
    index = SkeletonDataset.open(where.data_root / "nw-ucla").index.set_index("sample_id")
    rows = index.loc[list(validation.sample_ids)]
    assert not set(validation.sample_ids) & set(stored.samples.sample_id)
    assert rows.label.tolist() == validation.classes[validation.scored.labels].tolist()
    for name, value in stored.result.selection.validation.items():
        assert METRICS.get(name)(validation.scored) == pytest.approx(value)


def test_a_zero_shot_fusion_is_calibrated_anew_and_weighed_on_pseudo_unseen_clips(where: RunSite) -> None:
    job = FusionJob(jobs("noisy[noise=1],noisy[noise=2]", ZERO_SHOT), "fitted", "logits")
    fused, members = ran(job, where)
    first, validation = members[0].validation(), fused.validation()
    assert first is not None
    assert validation is not None
    assert set(validation.classes) == set(np.flatnonzero(fused.result.seen))
    assert fused.result.notes["n_fitted_on"] == int(first.scored.of_unseen_class.sum()) > 0
    assert fused.result.selection.calibration == validation.scored.calibration != 0


def with_validation(stored: Stored, scores: np.ndarray) -> Stored:
    """The same job with these scores on validation, calibrated anew."""
    held_out = stored.validation()
    assert held_out is not None
    labels, seen = held_out.scored.labels, held_out.scored.seen
    scored = Scored(scores, labels, seen, fit_calibration(scores, labels, seen))
    files = write_validation(stored.folder, replace(held_out, scored=scored))
    selection = stored.result.selection.model_copy(update={"calibration": scored.calibration})
    changes = {"files": {**stored.result.files, **files}, "selection": selection}
    return write_result(stored.folder, stored.result.model_copy(update=changes))


def right_among_unseen(scored: Scored) -> float:
    """The share of clips of unseen classes that the unseen columns alone get right, by its definition."""
    columns = np.flatnonzero(~scored.seen)
    rows = np.isin(scored.labels, columns)
    return float((columns[scored.scores[rows][:, columns].argmax(axis=1)] == scored.labels[rows]).mean())


@pytest.mark.parametrize("scale", ["logits", "softmax"])
def test_seen_classes_do_not_compete_where_weights_are_fitted_for_unseen_ones(
    where: RunSite, scale: fusion.Scale
) -> None:
    job = FusionJob(jobs("noisy[noise=1],noisy[noise=2]", ZERO_SHOT), "fitted", scale)
    members = [run_job(each, where)[0] for each in job.members]
    held_out = members[0].validation()
    assert held_out is not None
    labels, seen = held_out.scored.labels, held_out.scored.seen
    truth = np.eye(len(seen))[labels]
    expert = truth + 8.0 * seen
    often_wrong = np.where(np.arange(len(labels)) % 3 == 0, -1, 1)[:, None] * 3 * truth - 8.0 * seen
    members = [with_validation(members[0], expert), with_validation(members[1], often_wrong)]
    sheets = [sheet.scored for member in members if (sheet := member.validation())]
    assert right_among_unseen(sheets[0]) == 1 > 0.8 > right_among_unseen(sheets[1])
    fused = run_fusion(job, members, where.results_root)[0]
    validation = fused.validation()
    assert validation is not None
    assert right_among_unseen(validation.scored) == fused.result.selection.validation["zsl_top1"] == 1


def best_harmonic_mean(scored: Scored) -> float:
    """H under the best of all calibrations, by brute force."""
    margin = scored.scores[:, scored.seen].max(axis=1) - scored.scores[:, ~scored.seen].max(axis=1)
    found = []
    for calibration in np.sort(margin)[:, None] + [-1e-4, 1e-4]:
        for value in calibration:
            right = (scored.scores - value * scored.seen).argmax(axis=1) == scored.labels
            s, u = (right[scored.of_unseen_class == side].mean() for side in (False, True))
            found.append(2 * s * u / (s + u) if s + u else 0.0)
    return max(found)


@pytest.mark.parametrize("scale", ["logits", "softmax"])
@pytest.mark.parametrize("seed", range(6))
def test_a_fitted_fusion_is_never_below_its_best_member_on_validation(seed: int, scale: fusion.Scale) -> None:
    generator = np.random.default_rng(seed)
    labels, seen = generator.integers(0, 6, size=60), np.arange(6) < 4
    members = []
    for skill, bias in ((1.0, 3.0), (2.0, -4.0), (0.3, 0.0)):
        scores = generator.normal(size=(60, 6)) + skill * np.eye(6)[labels] + bias * seen
        scores *= generator.uniform(0.2, 5)
        members.append(Scored(scores, labels, seen, fit_calibration(scores, labels, seen)))
    for metric, by_definition in (("zsl_top1", right_among_unseen), ("gzsl_h", best_harmonic_mean)):
        shares = fit_weights(members, scale, METRICS.get(metric))
        assert shares.sum() == pytest.approx(1)
        fused = Scored(fuse_scores([each.scores for each in members], shares, scale), labels, seen)
        assert by_definition(fused) >= max(by_definition(each) for each in members) - 1e-9
    everything = [replace(each, seen=np.ones(6, dtype=bool), calibration=0.0) for each in members]
    shares = fit_weights(everything, scale, METRICS.get("top1"))
    fused_scores = fuse_scores([each.scores for each in members], shares, scale)
    best = max((each.scores.argmax(axis=1) == labels).mean() for each in members)
    assert (fused_scores.argmax(axis=1) == labels).mean() >= best


def test_a_fusion_is_a_result_like_any_other(where: RunSite) -> None:
    members = "noisy[noise=1],noisy[noise=2]"
    fused = [ran(FusionJob(jobs(members, seed=seed), "equal", "logits"), where)[0] for seed in (0, 1)]
    for stored in fused:
        again = Stored.read(stored.folder)
        assert again is not None
        for name, figure in again.result.metrics.items():
            assert figure.value == pytest.approx(METRICS.get(name)(again.scored()))
    (group,) = group_jobs(fused)
    assert group.seeds == (0, 1)
    board = leaderboard(list(fused))
    assert board["seeds"].tolist() == [2]
    assert set(read_results(where.results_root).method) == {"noisy", "fusion"}
    page = build_report(where.results_root, where.results_root / "reports").page.read_text()
    assert "mmcl-bench fuse" in page


def test_the_command_of_a_fusion_makes_the_same_jobs(where: RunSite) -> None:
    wanted = FusionJob(jobs("noisy[streams=joint],noisy[streams=bone+joint]", noise="2"), (1.0, 3.0), "softmax")
    fused, _ = ran(wanted, where)
    (group,) = group_jobs([fused])
    words = group.command.split()
    assert words[:2] == ["mmcl-bench", "fuse"]
    told = dict(zip(words[3::2], words[4::2], strict=True))
    assert told["--set"] == "noise=2.0"
    again = jobs(told["--members"].strip("'"), noise="2.0")
    weights = fusion.parse_weights(told["--weights"])
    assert FusionJob(again, weights, fusion.parse_scale(told["--scale"])).hash == wanted.hash


def test_a_fusion_of_streams_is_named_by_them() -> None:
    streams = FusionJob(jobs("noisy[streams=joint],noisy[streams=bone]"), "equal", "logits")
    assert streams.options() == {"method": "noisy", "streams": "joint,bone", "weights": "equal", "scale": "logits"}


def test_a_fusion_may_be_of_a_task_with_a_long_name(where: RunSite) -> None:
    long = f"zero-shot/nw-ucla[split=8/2,text=hf:{'1' * 200}]"
    members = [run_job(each, where)[0] for each in jobs("noisy[noise=1],noisy[noise=2]", ZERO_SHOT)]
    job = FusionJob(jobs("noisy[noise=1],noisy[noise=2]", long), "equal", "logits")
    fused = run_fusion(job, members, where.results_root)[0]
    assert Stored.read(fused.folder) is not None


def test_the_stored_fusion_is_kept_until_a_member_changes(where: RunSite) -> None:
    job = FusionJob(jobs("noisy[noise=1],noisy[noise=2]"), "equal", "logits")
    fused, members = ran(job, where)
    assert run_fusion(job, members, where.results_root)[1] is False
    first, samples = members[0], members[0].samples
    written = write_scores(first.folder, first.scores * 2, samples["sample_id"].tolist(), samples["column"].to_numpy())
    files = {**first.result.files, **written}
    other = Stored(first.folder, first.result.model_copy(update={"files": files}))
    assert run_fusion(job, [other, members[1]], where.results_root)[1] is True
    assert fused.result.job_hash == job.hash


def test_members_of_other_clips_are_refused(where: RunSite) -> None:
    job = FusionJob(jobs("noisy[noise=1],noisy[noise=2]"), "equal", "logits")
    members = [run_job(each, where)[0] for each in job.members]
    other = run_job(make_job(load_task("supervised/nw-ucla[split=x-sub]"), Noisy, 0), where)[0]
    with pytest.raises(UserError, match="scores other clips"):
        run_fusion(job, [members[0], other], where.results_root)


def test_results_without_validation_files_stay_readable(where: RunSite) -> None:
    (job,) = jobs("noisy")
    stored, _ = run_job(job, where)
    assert VALIDATION_SCORES not in stored.result.files
    again = Stored.read(stored.folder)
    assert again is not None
    assert again.validation() is None


def test_a_damaged_validation_file_makes_the_result_run_again(where: RunSite) -> None:
    (job,) = jobs("noisy[chooses=true]")
    stored, _ = run_job(job, where)
    path = stored.folder / VALIDATION_SCORES
    path.write_bytes(path.read_bytes()[:-3])
    assert Stored.read(stored.folder) is None
    assert run_job(job, where)[1] is True


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ("noisy[noise=1]", "equal", "needs two members"),
        ("noisy,noisy[noise=1.0]", "equal", "stand there twice"),
        ("noisy[noise=1],noisy[noise=2]", "0.5", "1 weight for 2 members"),
        ("noisy[noise=1],noisy[noise=2]", "-1,2", "0 or more"),
        ("noisy[noise=1],noisy[noise=2]", "0,0", "one of them above 0"),
        ("noisy[noise=1],noisy[noise=2]", "half,half", "should be equal, fitted, or numbers"),
        ("noisy[noise=1],noisy[noise=2]", "fitted", "--set selection=validation"),
        ("noisy[noise=1,noisy", "equal", "brackets do not pair"),
        ("noisy[noise],noisy", "equal", "not key=value"),
        ("noisy[nois=1],noisy", "equal", "Did you mean noise"),
        ("papers", "equal", "Did you mean paper"),
        ("noisi,noisy", "equal", "Did you mean noisy"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(members: str, weights: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        FusionJob(jobs(members), fusion.parse_weights(weights), "logits").check()


def test_the_paper_s_ensemble_has_its_six_streams() -> None:
    members = [parse_bracketed(text, "--members") for text in parse_members("paper")]
    four = [("ctr-gcn", stream) for stream in ("joint", "bone", "joint-motion", "bone-motion")]
    two = [("hd-gcn", stream) for stream in ("joint", "bone")]
    assert [(own["backbone"], own["streams"]) for _, own in members] == four + two
