from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmcl_bench.metrics import AUSUC, Scored
from mmcl_bench.report import figures
from mmcl_bench.stats import Interval


def texts(axes):
    return [text.get_text() for text in axes.texts]


def drawn(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def test_a_confusion_matrix_shows_shares_of_the_true_class_and_counts():
    counts = np.array([[3, 1], [0, 2]])
    axes = figures.confusion_matrix("Confusion", counts, ["wave", "clap"]).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[75, 25], [0, 100]])
    assert texts(axes) == ["3", "1", "2"]


def test_a_class_without_test_clips_has_no_shares():
    axes = figures.confusion_matrix("Confusion", np.array([[0, 0], [1, 1]]), ["wave", "clap"]).axes[0]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown, [[np.nan, np.nan], [50, 50]])


def test_unseen_classes_stand_last_in_the_confusion_of_both_kinds():
    counts = np.diag([5, 6, 7])
    axes = figures.confusion_matrix("All", counts, ["a", "new", "b"], np.array([True, False, True])).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "new"]
    assert texts(axes) == ["5", "7", "6"]


def test_accuracy_dots_and_whiskers_stand_at_their_percentages():
    intervals = (Interval(0.5, 0.4, 0.6, 100, 0.95), Interval(np.nan, np.nan, np.nan, 0, 0.95))
    methods = [figures.MethodIntervals("mmcl", intervals, transductive=True)]
    first, second = figures.accuracy("Accuracy", ["Top-1", "Top-5"], methods).axes
    whisker, dot = first.lines
    np.testing.assert_allclose(whisker.get_xdata(), [40, 60])
    np.testing.assert_allclose(dot.get_xdata(), [50])
    assert dot.get_markerfacecolor() == "white"
    assert not second.lines


def test_the_seen_unseen_curve_marks_the_calibrated_and_the_plain_operating_point():
    scores = np.array([[0.9, 0.0, 0.2], [0.0, 0.8, 0.1], [0.5, 0.0, 0.4], [0.6, 0.0, 0.1]])
    run = Scored(scores, np.array([0, 1, 2, 2]), np.array([True, True, False]), calibration=0.2)
    axes = figures.seen_unseen("Curve", [figures.ScoredMethod("mmcl", [run], AUSUC(run))]).axes[0]
    markers = {
        line.get_markerfacecolor(): line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())
    }
    plain, calibrated = markers["white"], markers[figures.PALETTE[0]]
    assert (*plain.get_xdata(), *plain.get_ydata()) == (100, 0)
    assert (*calibrated.get_xdata(), *calibrated.get_ydata()) == (100, 50)


def test_training_curves_show_losses_by_phase_and_the_chosen_epoch():
    rows = [
        {"epoch": 1.0, "loss": 2.0, "validation": 0.3, "accuracy": 0.4},
        {"epoch": 2.0, "loss": 1.0, "validation": 0.5, "accuracy": 0.8},
    ]
    phases = {"selection": rows, "final": [{"epoch": 1.0, "loss": 1.5}]}
    figure = figures.training_curves("Training", [figures.Training(0, phases, 2)])
    titles = {axes.get_title(): axes for axes in figure.axes}
    np.testing.assert_allclose(titles["selection fit"].lines[0].get_ydata(), [2, 1])
    np.testing.assert_allclose(titles["final fit"].lines[0].get_ydata(), [1.5])
    accuracies = next(axes for axes in figure.axes if axes.get_ylabel() == "accuracy")
    assert [(line.get_label(), list(line.get_ydata())) for line in accuracies.lines[:2]] == [
        ("validation", [0.3, 0.5]),
        ("training", [0.4, 0.8]),
    ]
    assert list(accuracies.lines[2].get_xdata()) == [2, 2]


def test_per_class_bars_are_means_over_seeds_of_classes_with_clips():
    accuracies = np.array([[0.2, 0.9, np.nan], [0.4, 0.7, np.nan]])
    axes = figures.per_class_accuracy("By class", ["wave", "clap", "none"], accuracies, np.ones(3, bool)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["clap", "wave"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([80, 30])


def test_names_are_never_read_as_formulas():
    name = r"$\nonsense{$ <b>&amp;"
    svg = drawn(figures.confusion_matrix(name, np.eye(2, dtype=int), [name, name]))
    assert rb"$\nonsense{$ &lt;b&gt;&amp;amp;" in svg
