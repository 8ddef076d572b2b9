from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmcl_bench.evaluation.metrics import AUSUC, Scored
from mmcl_bench.evaluation.ranks import ranks
from mmcl_bench.evaluation.statistics import Interval
from mmcl_bench.report import figures
from mmcl_bench.report.drawing import DARK, LIGHT, PALETTE, Boxes, Drawing, Line, Markers, Text, to_svg, write_file


def marks(drawing: Drawing, kind: type) -> list:
    return [mark for mark in drawing.marks if isinstance(mark, kind)]


def texts(drawing: Drawing) -> list[str]:
    return [mark.text for mark in marks(drawing, Text)]


def shades(drawing: Drawing, n_classes: int) -> list[list[float]]:
    """Opacity of the cells of a confusion matrix, without the scale beside it."""
    found = np.zeros((n_classes, n_classes))
    cells = [(place, mark.opacity) for mark in marks(drawing, Boxes) for place in mark.places if place[2] > 10]
    left, top = min(place[0] for place, _ in cells), 6
    for (x, y, side, _), opacity in cells:
        found[round((y - top) / side), round((x - left) / side)] = opacity
    return found.tolist()


def test_a_confusion_matrix_shows_shares_of_the_true_class_and_counts():
    drawing = figures.confusion_matrix("Confusion", np.array([[3, 1], [0, 2]]), ["wave", "clap"])
    assert shades(drawing, 2) == [[0.75, 0.25], [0, 1]]
    assert [text for text in texts(drawing) if text.isdigit()] == ["3", "1", "2"]


def test_a_class_without_test_clips_has_no_shares():
    drawing = figures.confusion_matrix("Confusion", np.array([[1, 1], [0, 0]]), ["wave", "clap"])
    assert shades(drawing, 2) == [[0.5, 0.5], [0, 0]]


def test_unseen_classes_stand_last_in_the_confusion_of_both_kinds():
    drawing = figures.confusion_matrix("All", np.diag([5, 6, 7]), ["a", "new", "b"], np.array([True, False, True]))
    names = [mark for mark in marks(drawing, Text) if mark.text in ("a", "b", "new") and not mark.upright]
    assert [mark.text for mark in names] == ["a", "b", "new"]
    assert [mark.color for mark in names] == ["ink", "ink", "c1"]
    assert [text for text in texts(drawing) if text in "567"] == ["5", "7", "6"]


def test_accuracy_markers_and_whiskers_stand_at_their_percentages():
    intervals = (Interval(0.5, 0.25, 0.75, 100, 0.95), Interval(np.nan, np.nan, np.nan, 0, 0.95))
    drawing = figures.accuracy("Accuracy", ["Top-1", "Top-5"], [figures.MethodIntervals("mmcl", intervals, True)])
    grid = sorted({mark.points[0][0] for mark in marks(drawing, Line) if mark.color == "line"})[:5]
    (whisker,) = (mark for mark in marks(drawing, Line) if mark.color == "c0")
    (dot,) = marks(drawing, Markers)
    assert sorted({point[0] for point in whisker.points}) == pytest.approx([grid[1], grid[3]])
    assert max(point[1] for point in whisker.points) > dot.places[0][1] + dot.radius
    assert dot.places[0][0] == pytest.approx(grid[2])
    assert not dot.filled
    assert dot.tip == "mmcl: 50.0 [25.0, 75.0]"


def test_the_seen_unseen_curve_marks_the_calibrated_and_the_plain_operating_point():
    scores = np.array([[0.9, 0.0, 0.2], [0.0, 0.8, 0.1], [0.5, 0.0, 0.4], [0.6, 0.0, 0.1]])
    run = Scored(scores, np.array([0, 1, 2, 2]), np.array([True, True, False]), calibration=0.2)
    drawing = figures.seen_unseen("Curve", [figures.ScoredMethod("mmcl", [run], AUSUC(run))])
    plain, calibrated = (mark for mark in marks(drawing, Markers) if mark.tip)
    (right, bottom), (right_too, middle) = plain.places[0], calibrated.places[0]
    assert (plain.filled, calibrated.filled) == (False, True)
    assert (right, bottom, right_too, middle) == pytest.approx((437, 318, 437, 163))


def test_training_curves_show_losses_by_phase_and_the_chosen_epoch():
    rows = [
        {"epoch": 1.0, "loss": 2.0, "validation": 0.3, "accuracy": 0.4},
        {"epoch": 2.0, "loss": 1.0, "validation": 0.5, "accuracy": 0.8},
    ]
    phases = {"selection": rows, "final": [{"epoch": 1.0, "loss": 1.5}]}
    drawing = figures.training_curves("Training", [figures.Training(0, phases, 2)])
    shown = texts(drawing)
    assert [text for text in shown if text.endswith(" fit")] == ["selection fit", "final fit"]
    assert [text for text in shown if text in ("validation", "training")] == ["validation", "training"]
    (chosen,) = (mark for mark in marks(drawing, Line) if mark.dashed)
    curve = next(mark for mark in marks(drawing, Line) if mark.color == "c0" and len(mark.points) == 2)
    assert chosen.points[0][0] == pytest.approx(curve.points[1][0])
    assert curve.points[1][1] > curve.points[0][1]  # the loss falls


def test_losses_that_span_decades_have_a_logarithmic_axis():
    rows = [{"epoch": float(epoch), "loss": 8 * 10.0**-epoch} for epoch in range(4)]
    drawing = figures.training_curves("Training", [figures.Training(0, {"final": rows}, None)])
    assert {"0.01", "0.1", "1"} <= set(texts(drawing))
    heights = next(mark for mark in marks(drawing, Line) if mark.color == "c0").points
    steps = np.diff([y for _, y in heights])
    assert steps == pytest.approx(np.full(3, steps[0]))


@pytest.mark.parametrize("last", [0.0, -3.0])
def test_losses_that_reach_zero_have_a_plain_axis(last):
    rows = [{"epoch": 1.0, "loss": 8.0}, {"epoch": 2.0, "loss": last}]
    drawing = figures.training_curves("Training", [figures.Training(0, {"final": rows}, None)])
    assert "loss" in texts(drawing)
    assert "loss, logarithmic" not in texts(drawing)


def test_per_class_bars_are_means_over_seeds_of_classes_with_clips():
    accuracies = np.array([[0.2, 0.9, np.nan], [0.4, 0.7, np.nan]])
    drawing = figures.per_class_accuracy("By class", ["wave", "clap", "none"], accuracies, np.ones(3, bool))
    assert [text for text in texts(drawing) if text in ("wave", "clap", "none")] == ["clap", "wave"]
    assert [mark.places[0][2] for mark in marks(drawing, Boxes)] == pytest.approx([0.8 * 220, 0.3 * 220])


def test_a_map_tells_right_from_wrong_and_names_every_class_text():
    samples = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    labels, correct = np.array([0, 0, 1]), np.array([True, False, True])
    mapped = figures.MappedSamples(samples, labels, correct, np.array([[0.0, 0.5], [1.0, 0.5]]), ["wave", "clap"])
    drawing = figures.sample_map("Map", mapped)
    tips = [(mark.tip, mark.filled, len(mark.places)) for mark in marks(drawing, Markers) if mark.tip]
    assert tips == [
        *(("wave, right", True, 1), ("wave, wrong", False, 1), ("clap, right", True, 1)),
        *(("class text: wave", True, 1), ("class text: clap", True, 1)),
    ]


def test_ranks_stand_at_their_places_and_bars_join_what_is_not_told_apart():
    table = pd.DataFrame({"a": [0.9, 0.8, 0.9, 0.8], "b": [0.7, 0.6, 0.7, 0.6], "c": [0.1, 0.2, 0.1, 0.2]})
    found = ranks(table)
    drawing = figures.critical_difference("Ranks", found)
    assert [text for text in texts(drawing) if text.startswith(("a ", "b ", "c "))] == ["a  1.00", "b  2.00", "c  3.00"]
    bars = [mark for mark in marks(drawing, Line) if mark.width == 4]
    assert len(bars) == len(found.cliques)


def test_names_are_text_on_the_page_and_in_files():
    name = r"$\nonsense{$ <b>&amp;"
    drawing = figures.confusion_matrix(name, np.eye(2, dtype=int), [name, name])
    assert r"$\nonsense{$ &lt;b&gt;&amp;amp;" in to_svg(drawing)
    assert "<b>" not in to_svg(drawing)
    for suffix, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        buffer = io.BytesIO()
        write_file(drawing, buffer, suffix)
        assert buffer.getvalue().startswith(magic)


def test_a_png_keeps_the_colours_that_few_of_its_pixels_have():
    drawing = Drawing("", 400, 300)
    for shade in range(1, 13):
        drawing.boxes([(30.0 * shade, 10, 30, 200)], "c0", shade / 12)
    for at, color in enumerate(PALETTE):
        drawing.markers([(30 + 40 * at, 260)], "square", color)
    buffer = io.BytesIO()
    write_file(drawing, buffer, "png")
    pixels = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    for color in PALETTE:
        exact = [int(pair, 16) for pair in re.findall("..", LIGHT[color][1:])]
        assert np.abs(pixels - exact).max(axis=2).min() <= 8


def test_equal_drawings_have_equal_digests_and_others_not():
    first, second, third = (figures.confusion_matrix(title, np.eye(2, dtype=int), ["a", "b"]) for title in "xxy")
    assert first.digest == second.digest != third.digest


def channels(color: str) -> np.ndarray:
    """Linear sRGB."""
    values = np.array([int(pair, 16) / 255 for pair in re.findall("..", color[1:])])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.1, relative luminance."""
    low, high = sorted(float(channels(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_page(theme):
    assert all(contrast(theme[name], theme["page"]) >= 3 for name in PALETTE)
    assert contrast(theme["ink"], theme["page"]) >= 7
    assert contrast(theme["dim"], theme["page"]) >= 4.5


# Linear sRGB as a dichromat sees it, Viénot, Brettel, Mollon: Digital video colourmaps, Color Res. Appl. 24, 1999.
PROTANOPE = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPE = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("sight", [PROTANOPE, DEUTERANOPE], ids=["protanope", "deuteranope"])
def test_seen_and_unseen_differ_for_colour_blind_readers(theme, sight):
    seen, unseen = (sight @ channels(theme[name]) for name in ("c0", "c1"))
    assert np.abs(seen - unseen).max() > 0.2
