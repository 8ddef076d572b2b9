"""Metrics against scikit-learn, against a sheet worked out by hand and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from sklearn import metrics as sk

from mmcl_bench.core.errors import UserError
from mmcl_bench.evaluation.metrics import (
    METRICS,
    TOP5,
    Metric,
    Scored,
    ShareRight,
    confusion,
    fit_calibration,
    joint_cells,
    per_class_accuracy,
    predictions,
    real_scores,
    require_metric,
    seen_unseen_curve,
)

# Columns a, b are seen and c, d unseen. Best seen less best unseen score: rows 0..3 of seen classes 5, 1, 2, -1; rows
# 4..7 of unseen classes 3, -2, 0.5, 4. Wrong even within their own side: row 2 (says a) and row 7 (says c).
HAND = Scored(
    scores=np.array(
        [
            [7, 1, 2, 0],
            [3, 4, 3, 2],
            [5, 1, 3, 0],
            [0, 4, 1, 5],
            [6, 2, 3, 1],
            [1, 2, 4, 3],
            [4, 1, 1, 3.5],
            [8, 0, 4, 2],
        ],
        dtype=np.float32,
    ),
    labels=np.array([0, 1, 1, 1, 2, 2, 3, 3]),
    seen=np.array([True, True, False, False]),
)


def calibrated(scored: Scored, calibration: float) -> Scored:
    return Scored(scored.scores, scored.labels, scored.seen, calibration)


def synthetic_sheet(seed: int, n: int = 300, n_classes: int = 12, n_unseen: int = 4) -> Scored:
    """A synthetic sheet without ties, better than chance, with unequal class sizes and shuffled unseen columns."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(n_classes, size=n, p=generator.dirichlet(np.full(n_classes, 5.0)))
    scores = generator.normal(size=(n, n_classes)).astype(np.float32)
    scores[np.arange(n), labels] += 1.5
    seen = np.ones(n_classes, dtype=bool)
    seen[generator.permutation(n_classes)[:n_unseen]] = False
    return Scored(scores + seen.astype(np.float32) * 0.5, labels, seen)


@st.composite
def sheets(draw: st.DrawFn) -> Scored:
    """Small sheets of small whole scores, so with many ties and exact sums; any side may lack classes or samples."""
    n_classes = draw(st.integers(1, 6))
    n = draw(st.integers(0, 12))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Scored(
        generator.integers(-3, 4, size=(n, n_classes)),
        generator.integers(n_classes, size=n),
        generator.random(n_classes) < draw(st.sampled_from([0.0, 0.5, 1.0])),
        draw(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.inf])),
    )


@pytest.fixture(params=sorted(METRICS), scope="module")
def metric(request: pytest.FixtureRequest) -> Metric:
    return METRICS.get(request.param)


def value(name: str, scored: Scored) -> float:
    return METRICS.get(name)(scored)


class TestEveryRegisteredMetric:
    def test_says_what_it_is(self, metric: Metric) -> None:
        assert METRICS.get(metric.name) is metric
        assert metric.title
        assert metric.families
        assert metric.families <= {"supervised", "zero-shot", "transfer"}

    def test_is_the_same_with_unit_weights_and_without(self, metric: Metric) -> None:
        sheet = calibrated(synthetic_sheet(0), 0.4)
        np.testing.assert_array_equal(metric.prepare(sheet)(np.ones((3, len(sheet)))), np.full(3, metric(sheet)))

    def test_counts_a_sample_of_weight_two_as_two_samples(self, metric: Metric) -> None:
        sheet = calibrated(synthetic_sheet(1), 0.4)
        counts = np.random.default_rng(2).integers(0, 4, size=(12, len(sheet)))
        counts[np.arange(12)[:, None] == sheet.labels] = 0  # row k draws no sample of class k, as a resample may
        repeated = [
            metric(Scored(sheet.scores.repeat(row, axis=0), sheet.labels.repeat(row), sheet.seen, 0.4))
            for row in counts
        ]
        np.testing.assert_allclose(metric.prepare(sheet)(counts.astype(float)), repeated, rtol=1e-12)

    def test_counts_as_many_samples_as_can_change_it(self, metric: Metric) -> None:
        sheet = synthetic_sheet(3, n=60)
        dropped = metric.prepare(sheet)(1 - np.eye(len(sheet)))
        assert np.all((dropped == metric(sheet)) | metric.counted(sheet))
        assert metric.n_samples(sheet) == metric.counted(sheet).sum() > 0

    def test_is_nan_without_samples(self, metric: Metric) -> None:
        empty = Scored(np.zeros((0, 3)), np.zeros(0, dtype=int), np.array([True, True, False]))
        assert np.isnan(metric(empty))
        assert metric.n_samples(empty) == 0

    @given(sheets())
    @settings(max_examples=25)
    def test_is_a_share_or_nan(self, metric: Metric, sheet: Scored) -> None:
        result = metric(sheet)
        assert np.isnan(result) or 0 <= result <= 1

    @given(sheets(), st.integers(0, 2**32 - 1))
    @settings(max_examples=25)
    def test_does_not_depend_on_sample_order(self, metric: Metric, sheet: Scored, seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(sheet))
        shuffled = Scored(sheet.scores[order], sheet.labels[order], sheet.seen, sheet.calibration)
        np.testing.assert_allclose(metric(shuffled), metric(sheet), rtol=1e-12)

    @given(sheets())
    @settings(max_examples=25)
    def test_is_right_where_the_predicted_class_is_the_true_one(self, metric: Metric, sheet: Scored) -> None:
        if not isinstance(metric, ShareRight) or metric is TOP5:
            return
        hits = (metric.predicted(sheet) == sheet.labels)[metric.counted(sheet)]
        np.testing.assert_equal(metric(sheet), hits.mean() if hits.size else np.nan)

    @given(sheets(), st.integers(-50, 50))
    @settings(max_examples=25)
    def test_does_not_depend_on_a_constant_added_to_a_samples_scores(
        self, metric: Metric, sheet: Scored, offset: int
    ) -> None:
        offsets = offset * np.arange(len(sheet))[:, None]
        moved = Scored(sheet.scores + offsets, sheet.labels, sheet.seen, sheet.calibration)
        np.testing.assert_equal(metric(moved), metric(sheet))


class TestAgainstScikitLearn:
    @pytest.fixture(params=range(3))
    def sheet(self, request: pytest.FixtureRequest) -> Scored:
        return synthetic_sheet(request.param)

    def test_top1(self, sheet: Scored) -> None:
        assert value("top1", sheet) == pytest.approx(sk.accuracy_score(sheet.labels, sheet.scores.argmax(axis=1)))

    def test_top5(self, sheet: Scored) -> None:
        expected = sk.top_k_accuracy_score(sheet.labels, sheet.scores, k=5, labels=np.arange(12))
        assert value("top5", sheet) == pytest.approx(expected)

    def test_macro_top1(self, sheet: Scored) -> None:
        expected = sk.balanced_accuracy_score(sheet.labels, sheet.scores.argmax(axis=1))
        assert value("macro_top1", sheet) == pytest.approx(expected)

    def test_conventional_zero_shot(self, sheet: Scored) -> None:
        rows, columns = ~sheet.seen[sheet.labels], np.flatnonzero(~sheet.seen)
        truth, words = sheet.labels[rows], columns[sheet.scores[rows][:, columns].argmax(axis=1)]
        assert value("zsl_top1", sheet) == pytest.approx(sk.accuracy_score(truth, words))
        assert value("zsl_macro_top1", sheet) == pytest.approx(sk.balanced_accuracy_score(truth, words))

    @pytest.mark.parametrize("calibration", [-0.7, 0.0, 0.9])
    @pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
    def test_generalized_zero_shot(self, sheet: Scored, calibration: float) -> None:
        words = (sheet.scores - calibration * sheet.seen).argmax(axis=1)
        of_seen = sheet.seen[sheet.labels]
        sheet = calibrated(sheet, calibration)
        for prefix, score in (("gzsl_", sk.accuracy_score), ("gzsl_macro_", sk.balanced_accuracy_score)):
            seen, unseen = (score(sheet.labels[side], words[side]) for side in (of_seen, ~of_seen))
            assert value(f"{prefix}seen", sheet) == pytest.approx(seen)
            assert value(f"{prefix}unseen", sheet) == pytest.approx(unseen)
            assert value(f"{prefix}h", sheet) == pytest.approx(2 / (1 / seen + 1 / unseen))

    def test_ausuc_is_the_trapezoid_area_under_the_curve(self, sheet: Scored) -> None:
        curve = seen_unseen_curve(sheet)
        assert value("ausuc", sheet) == pytest.approx(sk.auc(curve.unseen_accuracy, curve.seen_accuracy))

    def test_ausuc_factors_into_two_accuracies_and_a_ranking(self, sheet: Scored) -> None:
        """Area = S(-inf) U(+inf) x ROC-AUC of the margins among samples right within their own side."""
        right = calibrated(sheet, -np.inf), calibrated(sheet, np.inf)
        of_seen = sheet.seen[sheet.labels]
        chosen = np.where(of_seen, *(predictions(side) == sheet.labels for side in right))
        margin = sheet.scores[:, sheet.seen].max(axis=1) - sheet.scores[:, ~sheet.seen].max(axis=1)
        ranking = sk.roc_auc_score(of_seen[chosen], margin[chosen])
        expected = value("gzsl_seen", right[0]) * value("gzsl_unseen", right[1]) * ranking
        assert value("ausuc", sheet) == pytest.approx(expected)

    def test_confusion(self, sheet: Scored) -> None:
        words = (sheet.scores - 0.5 * sheet.seen).argmax(axis=1)
        expected = sk.confusion_matrix(sheet.labels, words, labels=np.arange(12))
        np.testing.assert_array_equal(confusion(calibrated(sheet, 0.5)), expected)

    def test_per_class_accuracy(self, sheet: Scored) -> None:
        expected = sk.recall_score(sheet.labels, sheet.scores.argmax(axis=1), average=None, labels=np.arange(12))
        np.testing.assert_allclose(per_class_accuracy(sheet), expected)


class TestByHand:
    def test_conventional_zero_shot(self) -> None:
        assert value("zsl_top1", HAND) == 3 / 4
        assert value("zsl_macro_top1", HAND) == (2 / 2 + 1 / 2) / 2
        assert METRICS.get("zsl_top1").n_samples(HAND) == 4

    def test_generalized_zero_shot_without_calibration(self) -> None:
        assert predictions(HAND).tolist() == [0, 1, 0, 3, 0, 2, 0, 0]
        assert value("gzsl_seen", HAND) == 2 / 4
        assert value("gzsl_unseen", HAND) == 1 / 4
        assert value("gzsl_h", HAND) == pytest.approx(1 / 3)
        assert value("gzsl_macro_seen", HAND) == (1 + 1 / 3) / 2
        assert value("gzsl_macro_unseen", HAND) == (1 / 2 + 0) / 2

    def test_generalized_zero_shot_with_calibration(self) -> None:
        sheet = calibrated(HAND, 0.75)
        assert predictions(sheet).tolist() == [0, 1, 0, 3, 0, 2, 3, 0]
        assert value("gzsl_seen", sheet) == 2 / 4
        assert value("gzsl_unseen", sheet) == 2 / 4
        assert value("gzsl_h", sheet) == 2 / 4

    def test_curve(self) -> None:
        """Right within their side: seen samples with margins 5, 1, -1; unseen ones with margins 3, -2, 0.5."""
        curve = seen_unseen_curve(HAND)
        assert curve.calibration.tolist() == [-np.inf, -2, -1, 0.5, 1, 3, 5]
        assert (curve.seen_accuracy * 4).tolist() == [3, 3, 2, 2, 1, 1, 0]
        assert (curve.unseen_accuracy * 4).tolist() == [0, 1, 1, 2, 2, 3, 3]

    def test_ausuc(self) -> None:
        """U rises by 1/4 at -2, 0.5 and 3, where S is 3/4, 2/4 and 1/4."""
        assert value("ausuc", HAND) == pytest.approx(1 / 4 * (3 / 4 + 2 / 4 + 1 / 4))

    def test_equal_margins_count_half_towards_ausuc(self) -> None:
        """A seen and an unseen sample with margin 1: the curve falls straight from S = 1 to U = 1."""
        sheet = Scored(np.array([[2, 1], [2, 1]]), np.array([0, 1]), np.array([True, False]))
        assert value("ausuc", sheet) == 0.5

    def test_fitted_calibration_is_the_middle_of_the_widest_then_lowest_of_equal_intervals(self) -> None:
        """Unseen margins 0 and 3, seen ones w and 3 + v: S, U are 2/2, 1/2 in (0, w) and 1/2, 2/2 in (3, 3 + v)."""
        for w, v, expected in ((1, 2, 4.0), (2, 1, 1.0), (2, 2, 1.0)):
            scores = np.array([[0, 0], [3, 0], [w, 0], [3 + v, 0]])
            assert fit_calibration(scores, np.array([1, 1, 0, 0]), np.array([True, False])) == expected

    def test_no_calibration_is_fitted_where_none_helps(self) -> None:
        scores = np.array([[0, 5, 0], [3, 0, 0]])
        assert fit_calibration(scores, np.array([0, 2]), np.array([True, True, False])) == 0

    def test_fitted_calibration_is_the_middle_of_the_best_interval(self) -> None:
        """H is best, 1/2, with S = U = 2/4 between 0.5 and 1; next is 3/8 with 1/4 and 3/4 between 3 and 5."""
        assert fit_calibration(HAND.scores, HAND.labels, HAND.seen) == 0.75

    def test_per_class_accuracy_of_an_absent_class_is_nan(self) -> None:
        sheet = Scored(np.eye(3)[[0, 1, 1]], np.array([0, 0, 1]), np.ones(3, dtype=bool))
        np.testing.assert_array_equal(per_class_accuracy(sheet), [0.5, 1.0, np.nan])

    def test_unseen_part_is_the_conventional_setting(self) -> None:
        part = HAND.unseen_part()
        assert part.scores.tolist() == [[3, 1], [4, 3], [1, 3.5], [4, 2]]
        assert part.labels.tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(per_class_accuracy(part), [1.0, 0.5])
        np.testing.assert_array_equal(confusion(part), [[2, 0], [1, 1]])

    def test_the_first_of_equal_columns_wins(self) -> None:
        flat = Scored(np.zeros((3, 6)), np.array([0, 1, 5]), np.array([False, True, True, True, False, True]))
        assert predictions(flat).tolist() == [0, 0, 0]
        assert value("top1", flat) == pytest.approx(1 / 3)
        assert value("top5", flat) == pytest.approx(2 / 3)
        assert value("gzsl_seen", flat) == 0
        assert value("gzsl_unseen", flat) == 1


class TestAgainstBruteForce:
    @staticmethod
    def sweep(sheet: Scored, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S and U at each calibration of a grid, by plain argmax of shifted scores in float64."""
        words = (sheet.scores[None].astype(np.float64) - grid[:, None, None] * sheet.seen).argmax(axis=2)
        right = words == sheet.labels
        of_seen = sheet.seen[sheet.labels]
        return right[:, of_seen].mean(axis=1), right[:, ~of_seen].mean(axis=1)

    @pytest.mark.parametrize("sheet", [HAND, synthetic_sheet(7, n=80)], ids=["hand", "synthetic"])
    def test_ausuc_over_a_fine_grid(self, sheet: Scored) -> None:
        seen, unseen = self.sweep(sheet, np.linspace(-12.0005, 12.0005, 8002))
        assert value("ausuc", sheet) == pytest.approx(trapezoid(seen, unseen), abs=1e-3)

    @pytest.mark.parametrize("seed", range(6))
    def test_fitted_calibration_beats_a_fine_grid(self, seed: int) -> None:
        sheet = synthetic_sheet(seed, n=80)
        seen, unseen = self.sweep(sheet, np.linspace(-6, 6, 4001))
        fitted = fit_calibration(sheet.scores, sheet.labels, sheet.seen)
        harmonic = 2 * seen * unseen / np.maximum(seen + unseen, 1e-9)
        assert value("gzsl_h", calibrated(sheet, fitted)) >= harmonic.max() - 1e-12

    @given(sheets())
    @settings(max_examples=60)
    def test_curve_at_any_calibration_that_is_no_tie(self, sheet: Scored) -> None:
        curve = seen_unseen_curve(sheet)
        for calibration in np.arange(-8.5, 9):
            at = np.searchsorted(curve.calibration, calibration) - 1
            moved = calibrated(sheet, calibration)
            np.testing.assert_equal(curve.seen_accuracy[at], value("gzsl_seen", moved))
            np.testing.assert_equal(curve.unseen_accuracy[at], value("gzsl_unseen", moved))

    @given(sheets())
    @settings(max_examples=60)
    def test_ausuc_of_a_sheet_full_of_ties_is_the_trapezoid_area(self, sheet: Scored) -> None:
        curve = seen_unseen_curve(sheet)
        if np.isnan([curve.seen_accuracy, curve.unseen_accuracy]).any():
            assert np.isnan(value("ausuc", sheet))
        else:
            assert value("ausuc", sheet) == pytest.approx(trapezoid(curve.seen_accuracy, curve.unseen_accuracy))


@given(sheets())
@settings(max_examples=60)
def test_the_ends_of_the_sweep_silence_one_side(sheet: Scored) -> None:
    all_unseen, all_seen = calibrated(sheet, np.inf), calibrated(sheet, -np.inf)
    if not sheet.seen.all():
        assert value("gzsl_seen", all_unseen) == 0 or not METRICS.get("gzsl_seen").n_samples(sheet)
        np.testing.assert_equal(value("gzsl_unseen", all_unseen), value("zsl_top1", sheet))
    if sheet.seen.any():
        assert value("gzsl_unseen", all_seen) == 0 or not METRICS.get("gzsl_unseen").n_samples(sheet)


@given(sheets())
@settings(max_examples=60)
def test_fitted_calibration_beats_every_calibration_that_is_no_tie(sheet: Scored) -> None:
    of_seen = sheet.seen[sheet.labels]
    if of_seen.all() or not of_seen.any():
        with pytest.raises(ValueError, match="validation samples of seen and of unseen classes"):
            fit_calibration(sheet.scores, sheet.labels, sheet.seen)
        return
    fitted = fit_calibration(sheet.scores, sheet.labels, sheet.seen)
    others = [value("gzsl_h", calibrated(sheet, half)) for half in np.arange(-8.5, 9)]
    assert value("gzsl_h", calibrated(sheet, fitted)) >= max(others) - 1e-12


@given(sheets())
@settings(max_examples=30)
def test_some_rows_of_a_sheet_are_a_sheet_of_their_own(sheet: Scored) -> None:
    rows = np.arange(0, len(sheet), 2)
    fresh = Scored(sheet.scores[rows], sheet.labels[rows], sheet.seen, sheet.calibration)
    for before in (lambda: None, lambda: sheet.competition):
        before()
        np.testing.assert_array_equal(predictions(sheet.rows(rows)), predictions(fresh))
        assert value("ausuc", sheet.rows(rows)) == pytest.approx(value("ausuc", fresh), nan_ok=True)


@given(sheets())
@settings(max_examples=30)
def test_another_calibration_leaves_the_sheet_as_it_was(sheet: Scored) -> None:
    before = predictions(sheet)
    np.testing.assert_array_equal(predictions(sheet.calibrated(0.25)), predictions(calibrated(sheet, 0.25)))
    np.testing.assert_array_equal(predictions(sheet), before)


def test_joint_cells_are_numbered_in_order_whatever_their_numbers() -> None:
    generator = np.random.default_rng(5)
    for spread in (3, 10**9):
        a, b = generator.integers(-spread, spread, (2, 200))
        pairs = np.stack([a, b], axis=1)
        expected = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
        np.testing.assert_array_equal(joint_cells([a, b]), expected)


def test_all_seen_sheets_ignore_calibration() -> None:
    sheet = Scored(np.eye(3), np.arange(3), np.ones(3, dtype=bool), np.inf)
    assert predictions(sheet).tolist() == [0, 1, 2]


def test_zero_shot_figures_are_nan_without_unseen_samples() -> None:
    sheet = Scored(np.eye(3), np.arange(3), np.ones(3, dtype=bool))
    assert value("gzsl_seen", sheet) == 1
    for name in ("zsl_top1", "zsl_macro_top1", "gzsl_unseen", "gzsl_h", "gzsl_macro_h", "ausuc"):
        assert np.isnan(value(name, sheet)), name


def test_a_metric_of_another_family_is_refused() -> None:
    require_metric("gzsl_h", "zero-shot", "--metric")
    with pytest.raises(
        UserError, match=r"^--metric: unknown supervised metric 'gzsl_h'.* Known: macro_top1, top1, top5"
    ):
        require_metric("gzsl_h", "supervised", "--metric")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(8)}, r"scores must be \(N, K\)"),
        ({"scores": np.full((8, 4), np.nan)}, "row 0, column 0 is nan"),
        ({"scores": np.full((8, 4), -np.inf)}, "must be finite; row 0, column 0 is -inf"),
        ({"scores": np.full((8, 4), 1j)}, "must be real numbers, not complex128"),
        ({"scores": np.full((8, 4), "1")}, "must be real numbers, not <U1"),
        ({"scores": np.full((8, 4), True)}, "must be real numbers, not bool"),
        ({"scores": np.full((8, 4), 1, dtype=object)}, "must be real numbers, not object"),
        ({"scores": np.ma.masked_less(HAND.scores, 1)}, "some are masked"),
        ({"labels": np.zeros(7, dtype=int)}, r"labels must be \(8,\) integers, not \(7,\)"),
        ({"labels": np.zeros(8)}, "labels must be .* float64"),
        ({"labels": np.full(8, 4)}, r"columns 0\.\.3, not 4\.\.4"),
        ({"labels": np.full(8, -1)}, r"columns 0\.\.3, not -1\.\.-1"),
        ({"seen": np.ones(3, dtype=bool)}, r"seen must be \(4,\) bool"),
        ({"seen": np.ones(4)}, "seen must be .* float64"),
        ({"calibration": np.nan}, "calibration must be a number"),
    ],
)
def test_a_sheet_that_makes_no_sense_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    fields = {"scores": HAND.scores, "labels": HAND.labels, "seen": HAND.seen, **change}
    with pytest.raises(ValueError, match=message):
        Scored(**fields)


class TestPrecision:
    """Figures are those of the scores as they were given, whatever their type and wherever their zero is."""

    @pytest.mark.parametrize("offset", [0.0, 1e5, 1e7, -1e9, 2.0**40])
    def test_a_number_added_to_all_scores_of_a_clip_changes_no_figure(self, metric: Metric, offset: float) -> None:
        plain = synthetic_sheet(3)
        # On a grid of eighths, so that the sums are exact.
        grid = np.round(plain.scores.astype(np.float64) * 8) / 8
        by_clip = offset * np.random.default_rng(0).integers(1, 4, size=(len(plain), 1))
        found = [metric(Scored(scores, plain.labels, plain.seen, 0.3)) for scores in (grid, grid + by_clip)]
        assert found[0] == found[1]

    def test_a_fitted_calibration_does_not_know_where_zero_is(self) -> None:
        plain = synthetic_sheet(4)
        grid = np.round(plain.scores.astype(np.float64) * 8) / 8
        assert fit_calibration(grid, plain.labels, plain.seen) == fit_calibration(grid + 1e9, plain.labels, plain.seen)

    @pytest.mark.parametrize(
        "dtype", ["f2", "f4", "f8", ">f8", "g", "i1", "i2", "i4", "i8", ">i8", "u1", "u2", "u4", "u8"]
    )
    def test_every_type_of_real_numbers_keeps_its_order(self, dtype: str) -> None:
        scores = np.array([[1, 3, 2], [9, 7, 8]], dtype=dtype)
        kept = real_scores(scores)
        assert kept.dtype in (np.float32, np.float64)
        np.testing.assert_array_equal(kept.argsort(axis=1), [[0, 2, 1], [1, 2, 0]])

    @given(
        st.lists(
            st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.integers(2**62, 2**62 + 3)),
            min_size=2,
            max_size=6,
        )
    )
    def test_whole_numbers_of_64_bits_lose_no_winner(self, scores: list[int]) -> None:
        (kept,) = real_scores(np.array([scores], dtype=np.int64))
        assert int(kept.argmax()) == scores.index(max(scores))
        n_best = sum(score == max(scores) for score in scores)
        assert int((kept == kept.max()).sum()) == n_best, "no class is made equal to the best one"

    @pytest.mark.parametrize(
        ("scores", "order"),
        [
            (np.array([[2**64 - 1, 2**64 - 2, 0]], dtype=np.uint64), [2, 1, 0]),
            (np.array([[-(2**63), 2**63 - 1, 2**63 - 2]], dtype=np.int64), [0, 2, 1]),
            (np.array([[2**53 + 1, 2**53, 2**53 + 2]], dtype=np.int64), [1, 0, 2]),
        ],
    )
    def test_neighbours_beyond_the_digits_of_a_double_are_told_apart(
        self, scores: np.ndarray, order: list[int]
    ) -> None:
        kept = real_scores(scores)
        assert kept[0].argsort().tolist() == order
        assert len(set(kept[0].tolist())) == 3

    def test_small_probabilities_beside_a_large_one_keep_their_order(self) -> None:
        scores = np.array([[0.999, 3e-12, 2e-12, 1e-300]])
        labels, seen = np.array([1]), np.array([True, False, False, False])
        assert value("zsl_top1", Scored(scores, labels, seen)) == 1
        assert value("zsl_top1", Scored(scores[:, [0, 2, 1, 3]], labels, seen)) == 0

    def test_classes_ruled_out_by_the_lowest_number_leave_a_finite_calibration(self) -> None:
        lowest = np.finfo(np.float64).min
        scores = np.array([[1.0, lowest], [1.0, lowest], [lowest, 1.0]])
        value = fit_calibration(scores, np.array([0, 0, 1]), np.array([True, False]))
        assert np.isfinite(value)
        assert predictions(Scored(scores, np.array([0, 0, 1]), np.array([True, False]), value)).tolist() == [0, 0, 1]
