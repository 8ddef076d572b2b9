from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mmcl_bench.evaluation.metrics import AUSUC, Scored
from mmcl_bench.evaluation.ranks import ranks
from mmcl_bench.evaluation.statistics import Interval
from mmcl_bench.report import figures
from mmcl_bench.report.drawing import DARK, LIGHT, PALETTE, TIP, chart_style, look, to_svg, write_file

LOOKS = {name: look(at) for at, name in enumerate(("mmcl", "a", "b", "c"))}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def tips(figure: Figure) -> list[str]:
    return [gid.removeprefix(TIP) for artist in figure.findobj() if (gid := artist.get_gid() or "").startswith(TIP)]


def opacities(figure: Figure) -> np.ndarray:
    """Of the cells of a heat map, as shares of the darkest."""
    shades = figure.axes[0].images[0].get_array()[..., 3]
    return np.asarray(shades / shades.max())


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with chart_style():
        yield


def test_a_confusion_matrix_shows_shares_of_the_true_class_and_counts():
    figure = figures.confusion_matrix(np.array([[3, 1], [0, 2]]), ["wave", "clap"])
    assert opacities(figure).tolist() == [[0.75, 0.25], [0, 1]]
    assert [text for text in texts(figure) if text.isdigit()] == ["3", "1", "2"]
    assert "wave taken for clap: 25 %" in tips(figure)


def test_the_shades_of_cells_are_those_of_the_picture_on_the_page():
    svg = to_svg(figures.confusion_matrix(np.array([[3, 1], [0, 2]]), ["wave", "clap"]), "x", "Confusion")
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", svg)[1])))
    cells = np.unique(np.asarray(picture.convert("RGBA"))[..., 3])
    assert cells / cells.max() == pytest.approx([0, 0.25, 0.75, 1], abs=0.01)


def test_a_class_without_test_clips_has_no_shares():
    assert opacities(figures.confusion_matrix(np.array([[1, 1], [0, 0]]), ["wave", "clap"])).tolist() == [
        [1, 1],
        [0, 0],
    ]


def test_unseen_classes_stand_last_in_the_confusion_of_both_kinds():
    figure = figures.confusion_matrix(np.diag([5, 6, 7]), ["a", "new", "b"], np.array([True, False, True]))
    names = [text for text in figure.findobj(Text) if text.get_text() in ("a", "b", "new") and not text.get_rotation()]
    assert [text.get_text() for text in names] == ["a", "b", "new"]
    assert [text.get_color() for text in names] == [LIGHT["ink"], LIGHT["ink"], LIGHT["c1"]]
    assert [text for text in texts(figure) if text in "567"] == ["5", "7", "6"]


def test_accuracy_markers_and_whiskers_stand_at_their_percentages():
    intervals = (Interval(0.5, 0.25, 0.75, 100, 0.95), Interval(np.nan, np.nan, np.nan, 0, 0.95))
    methods = [figures.MethodIntervals("mmcl", intervals, True)]
    figure = figures.intervals(["Top-1, %", "Top-5, %"], methods, LOOKS, (0, 100))
    first, second = figure.axes
    whisker, dot = first.lines
    assert sorted(set(whisker.get_xdata())) == [25, 75]
    assert (dot.get_xdata()[0], dot.get_color(), dot.get_markerfacecolor()) == (50, LIGHT["c0"], LIGHT["page"])
    assert set(tips(figure)) == {"mmcl: 50.0 [25.0, 75.0]"}
    assert not second.lines


def test_a_method_has_one_colour_and_marker_in_every_figure():
    found = Interval(0.5, 0.4, 0.6, 9, 0.95)
    cost = figures.MethodCost("b", 3.0, 0.5, "b: 50.0")
    drawn = [
        figures.intervals(["x"], [figures.MethodIntervals("b", (found,), False)], LOOKS, None).axes[0].lines[1],
        figures.seen_unseen([figures.ScoredMethod("b", [], [], 0.5)], LOOKS).axes[0].lines[0],
        figures.accuracy_against_cost("Top-1", [cost], LOOKS, "note").axes[0].lines[0],
    ]
    assert {(line.get_color(), line.get_marker()) for line in drawn} == {look(2)}
    assert len({look(at) for at in range(49)}) == 49


def test_the_seen_unseen_curve_marks_the_calibrated_and_the_plain_operating_point():
    scores = np.array([[0.9, 0.0, 0.2], [0.0, 0.8, 0.1], [0.5, 0.0, 0.4], [0.6, 0.0, 0.1]])
    run = Scored(scores, np.array([0, 1, 2, 2]), np.array([True, True, False]), calibration=0.2)
    figure = figures.seen_unseen([figures.scored_method("mmcl", [run], AUSUC(run))], LOOKS)
    curve, plain, calibrated, _ = figure.axes[0].lines
    assert (plain.get_xydata().tolist(), plain.get_markerfacecolor()) == ([[100, 0]], LIGHT["page"])
    assert (calibrated.get_xydata().tolist(), calibrated.get_markerfacecolor()) == ([[100, 50]], LIGHT["c0"])
    assert {(0, 100), (100, 0)} <= set(map(tuple, curve.get_xydata().tolist()))


def test_steps_without_a_loss_or_an_accuracy_have_no_curves():
    assert figures.curves_of([figures.Training(0, {"final": [{"epoch": 1, "dev_score": 0.5}]}, None)]) == {}


def test_training_curves_show_losses_by_phase_and_the_chosen_epoch():
    rows = [
        {"epoch": 1.0, "loss": 2.0, "validation": 0.3, "accuracy": 0.4},
        {"epoch": 2.0, "loss": 1.0, "validation": 0.5, "accuracy": 0.8},
    ]
    phases = {"selection": rows, "final": [{"epoch": 1.0, "loss": 1.5}]}
    figure = figures.training_curves([figures.Training(0, phases, 2)])
    shown = texts(figure)
    assert [text for text in shown if text.endswith(" fit")] == ["selection fit", "final fit"]
    assert {"validation", "training"} <= set(shown)
    loss, _, accuracy, nothing = figure.axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 2], [2, 1]]
    assert [2, 2] in [list(line.get_xdata()) for line in accuracy.lines], "the chosen epoch"
    assert not nothing.axison


def test_losses_that_span_decades_have_a_logarithmic_axis():
    rows = [{"epoch": float(epoch), "loss": 8 * 10.0**-epoch} for epoch in range(4)]
    figure = figures.training_curves([figures.Training(0, {"final": rows}, None)])
    assert figure.axes[0].get_yscale() == "log"
    assert {"0.01", "0.1", "1"} <= set(re.findall(r">([\d.]+)</text>", to_svg(figure, "x", "Training")))


@pytest.mark.parametrize("last", [0.0, -3.0, np.nan, np.inf])
def test_losses_that_reach_zero_or_are_no_numbers_have_a_plain_axis(last):
    rows = [{"epoch": 1.0, "loss": 8.0}, {"epoch": 2.0, "loss": last}]
    figure = figures.training_curves([figures.Training(0, {"final": rows}, None)])
    assert figure.axes[0].get_yscale() == "linear"


def test_per_class_bars_are_means_over_seeds_of_classes_with_clips():
    accuracies = np.array([[0.2, 0.9, np.nan], [0.4, 0.7, np.nan]])
    figure = figures.per_class_accuracy(["wave", "clap", "none"], accuracies, np.ones(3, bool))
    assert [text for text in texts(figure) if text in ("wave", "clap", "none")] == ["clap", "wave"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([80, 30])


def test_a_map_tells_right_from_wrong_and_names_every_class_text():
    samples = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    labels, correct = np.array([0, 0, 1]), np.array([True, False, True])
    mapped = figures.MappedSamples(samples, labels, correct, np.array([[0.0, 0.5], [1.0, 0.5]]), ["wave", "clap"])
    assert tips(figures.sample_map(mapped)) == [
        *("wave, right", "wave, wrong", "clap, right", "class text: wave", "class text: clap")
    ]


def test_ranks_stand_at_their_places_and_bars_join_what_is_not_told_apart():
    table = pd.DataFrame({"a": [0.9, 0.8, 0.9, 0.8], "b": [0.7, 0.6, 0.7, 0.6], "c": [0.1, 0.2, 0.1, 0.2]})
    found = ranks(table)
    figure = figures.critical_difference(found, LOOKS)
    assert {"a  1.00", "b  2.00", "3.00  c"} <= set(texts(figure))
    bars = [line.get_xdata() for line in figure.axes[0].lines if line.get_linewidth() == 3]
    assert sorted(map(sorted, bars)) == [[1, 2], [2, 3]]
    assert found.cliques == (("a", "b"), ("b", "c"))


def test_cells_of_a_heat_map_are_shaded_by_column_where_columns_differ():
    cells = {(0, 0): figures.Cell(0.9, "90"), (1, 0): figures.Cell(0.1, "10"), (0, 1): figures.Cell(0.2, "20 =")}
    figure = figures.heat_maps([figures.HeatMap("", cells)], ["x", "y"], ["one", "two"], "note", by_column=True)
    shades = opacities(figure)
    assert shades[0, 0] == 1
    assert 0 < shades[1, 0] == shades[0, 1] < 0.2
    assert shades[1, 1] == 0
    assert "20 =" in texts(figure)


def test_a_long_head_of_a_column_is_whole_in_lines():
    head = "hdm05-and-msr-action3d-and-nw-ucla-and-utd-mhad-to-utkinect@3[classes=texts]"
    figure = figures.heat_maps([figures.HeatMap("", {(0, 0): figures.Cell(0.5, "50")})], ["x"], [head], "note")
    (drawn,) = (text for text in texts(figure) if text.startswith("hdm05"))
    assert drawn.replace("\n", "") == head
    assert drawn.count("\n") == 2


def test_the_svg_has_no_styles_and_names_colours_as_variables():
    figure = figures.confusion_matrix(np.eye(2, dtype=int), ["wave", "clap"])
    svg = to_svg(figure, "one", "Confusion\nof it")
    assert 'aria-label="Confusion – of it"' in svg
    assert "style" not in svg
    assert "<title>wave taken for wave: 100 %</title>" in svg
    assert 'fill="var(--ink)"' in svg
    assert not set(re.findall("#[0-9a-f]{6}", svg))
    references, identifiers = (set(re.findall(pattern, svg)) for pattern in (r"(?:url\(|href=.)#(\w+)", r' id="(\w+)"'))
    assert references <= identifiers
    assert identifiers.isdisjoint(re.findall(r' id="(\w+)"', to_svg(figure, "other", "")))


def test_names_are_text_on_the_page_and_in_files():
    name = "$\\nonsense{$ <b>&amp;\x07"
    figure = figures.confusion_matrix(np.eye(2, dtype=int), [name, name])
    svg = to_svg(figure, "x", name.strip("\x07"))
    assert "$\\nonsense{$ &lt;b&gt;&amp;amp; </text>" in svg
    assert "<b>" not in svg
    for suffix, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        buffer = io.BytesIO()
        write_file(figure, name, buffer, suffix)
        assert buffer.getvalue().startswith(magic)


def test_a_png_keeps_the_colours_that_few_of_its_pixels_have():
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.imshow(np.dstack([np.full((1, 12, 3), 0.4), np.linspace(0, 1, 12)[None]]), aspect="auto")
    for at, color in enumerate(PALETTE):
        axes.plot(at, 0, "s", color=LIGHT[color])
    buffer = io.BytesIO()
    write_file(figure, "", buffer, "png")
    pixels = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    for color in PALETTE:
        exact = [int(pair, 16) for pair in re.findall("..", LIGHT[color][1:])]
        assert np.abs(pixels - exact).max(axis=2).min() <= 8


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
