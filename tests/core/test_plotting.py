"""Figures are drawn alike whatever the user's matplotlib is set to, and whatever script names are in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from mmcl_bench.core import plotting
from mmcl_bench.core.plotting import FONT, drawable, own_style, picture_of
from mmcl_bench.core.text import columns
from mmcl_bench.report.drawing import chart_style, write_file

HAND, GA, KA, CARTWHEEL = "手", "가", "क", "🤸"
"""Of Chinese, Hangul, Devanagari, and an emoji: signs that DejaVu Sans lacks."""
FALLBACK = "Fallback for tests"
DRAW = """
import sys
from pathlib import Path
from mmcl_bench.report.drawing import chart_style, write_file
from mmcl_bench.skeleton.drawing import draw_layout
from mmcl_bench.skeleton.layouts import get_layout
folder = Path(sys.argv[1])
with chart_style():
    from matplotlib.figure import Figure
    figure = Figure(figsize=(4, 2))
    axes = figure.subplots()
    axes.plot([0, 200], [0, 100], "o-", label="walk -1")
    axes.legend()
    for suffix in ("png", "pdf"):
        write_file(figure, "Accuracy, $x_1$", folder / f"drawing.{suffix}", suffix)
draw_layout(get_layout("kinect-v1"), folder / "layout.png")
"""
RC = (
    *("text.usetex: True", "font.size: 30", "font.family: serif", "savefig.dpi: 213", "savefig.bbox: tight"),
    *("savefig.transparent: True", "lines.linewidth: 9", "lines.antialiased: False", "figure.facecolor: red"),
    *("axes.facecolor: red", "path.simplify_threshold: 1", "pdf.compression: 0", "pdf.fonttype: 3", "no.such.key: 1"),
    *("path.sketch: 1, 100, 2", "figure.dpi: 31", "text.antialiased: False", "backend: gtk3agg"),
)


def _write(path: Path, name: str) -> None:
    """A figure with a name in it and beside it."""
    with chart_style():
        figure = Figure(figsize=(2, 1))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        axes.text(0, 0.5, name, ha="right")
        write_file(figure, "A title", path, path.suffix[1:])


@pytest.fixture
def fallback_font(tmp_path: Path) -> Iterator[None]:
    """A font of this machine that has some signs of other scripts, as a square each."""
    pen = TTGlyphPen(None)
    for x, y in ((0, 0), (0, 700), (900, 700), (900, 0)):
        (pen.lineTo if (x, y) != (0, 0) else pen.moveTo)((x, y))
    pen.closePath()
    square, signs = pen.glyph(), {f"u{ord(sign):x}": ord(sign) for sign in (HAND, GA, KA, CARTWHEEL)}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *signs])
    builder.setupCharacterMap({code: name for name, code in signs.items()})
    builder.setupGlyf(dict.fromkeys([".notdef", *signs], square))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *signs], (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": FALLBACK, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "fallback.ttf")
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(tmp_path / "fallback.ttf")
    plotting._family_with.cache_clear()
    yield
    font_manager.fontManager.ttflist = before
    plotting._family_with.cache_clear()


@pytest.fixture
def no_other_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with the fonts that come with matplotlib alone."""
    own = [font for font in font_manager.fontManager.ttflist if matplotlib.get_data_path() in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    plotting._family_with.cache_clear()
    yield
    plotting._family_with.cache_clear()


def _drawn(folder: Path, **environment: str) -> dict[str, str]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(folder)], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is drawn where the user has no settings."""
    return _drawn(tmp_path_factory.mktemp("usual") / "drawn", MPLBACKEND="", MATPLOTLIBRC="")


@pytest.mark.parametrize("backend", ["inline", "TkAgg"])
def test_the_users_backend_plays_no_part(backend: str, usual: dict[str, str], tmp_path: Path) -> None:
    assert _drawn(tmp_path / "drawn", MPLBACKEND=backend) == usual


@pytest.mark.parametrize("content", ["\n".join(RC).encode(), b"\xff\xfe\x00 no text"])
def test_the_users_matplotlibrc_plays_no_part(content: bytes, usual: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(content)
    assert _drawn(tmp_path / "drawn", MATPLOTLIBRC=str(tmp_path)) == usual


def _key_values() -> st.SearchStrategy[tuple[str, object]]:
    """A key whose default is a number or yes or no, with another value."""
    plain = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if isinstance(value, bool | float) and not key.startswith(("backend", "interactive", "docstring"))
    }
    return st.sampled_from(sorted(plain)).map(lambda key: (key, not plain[key] if plain[key] in (0, 1) else 0.5))


@given(_key_values())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_key_of_a_users_own_settings_plays_a_part_or_is_changed(tmp_path: Path, own: tuple[str, object]) -> None:
    key, value = own
    _write(tmp_path / "before.png", "walk -1")
    with matplotlib.rc_context():
        try:
            matplotlib.rcParams[key] = value
        except ValueError:
            return
        before = dict(matplotlib.rcParams)
        _write(tmp_path / "after.png", "walk -1")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


def test_settings_are_the_users_again_after_an_error() -> None:
    with matplotlib.rc_context({"font.size": 31}):
        with suppress(ZeroDivisionError), own_style():
            assert matplotlib.rcParams["font.size"] == 10
            raise ZeroDivisionError
        assert matplotlib.rcParams["font.size"] == 31


@given(st.floats(0.3, 6), st.floats(0.3, 6))
@settings(max_examples=40)
def test_a_picture_of_any_size_is_not_sheared(width: float, height: float) -> None:
    with own_style():
        figure = Figure(figsize=(width, height), dpi=100)
        figure.add_artist(matplotlib.lines.Line2D([0.5, 0.5], [0, 1], color="black", linewidth=4))
        pixels = np.asarray(picture_of(figure).convert("L"))
    assert abs(pixels.shape[1] - 100 * width) <= 1
    assert abs(pixels.shape[0] - 100 * height) <= 1
    darkest = pixels.argmin(axis=1)
    assert np.ptp(darkest) == 0, "an upright line is upright"
    assert abs(darkest[0] - 50 * width) <= 3


@pytest.mark.parametrize("sign", [HAND, GA, KA, CARTWHEEL])
def test_a_sign_is_drawn_with_a_font_that_has_it(sign: str, no_other_font: None, fallback_font: None) -> None:
    with own_style():
        assert drawable(f"wave {sign}!") == (f"wave {sign}!", [FONT, FALLBACK])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"wave {HAND}", "wave \\u624b"),
        (GA, "\\uac00"),
        (f"{KA}|{CARTWHEEL}", "\\u0915|\\U0001f938"),
        ("clap\ufe0f \u200dx\u2060", "clap x"),
        ("café, ±90°, C++, Ж, ω", "café, ±90°, C++, Ж, ω"),
        ("", ""),
    ],
)
def test_a_sign_that_no_font_has_is_an_escape(text: str, shown: str, no_other_font: None) -> None:
    with own_style():
        assert drawable(text) == (shown, [FONT])


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12))
@settings(max_examples=60)
def test_no_text_gives_boxes_or_warnings(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with own_style():
            shown, families = drawable(text)
            figure = Figure(figsize=(3, 1))
            figure.text(0.1, 0.5, shown, fontfamily=families)
            picture_of(figure)


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_files_are_drawn_with_a_font_that_is_found(
    suffix: str, no_other_font: None, fallback_font: None, tmp_path: Path
) -> None:
    def written(text: str) -> bytes:
        _write(tmp_path / f"drawn.{suffix}", text)
        return (tmp_path / f"drawn.{suffix}").read_bytes()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len({written(""), written(HAND), written(HAND + GA)}) == 3


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_figures_make_room_for_escapes(suffix: str, no_other_font: None, tmp_path: Path) -> None:
    def written(name: str) -> Path:
        path = tmp_path / f"{len(name)}.{suffix}"
        _write(path, name)
        return path

    plain, escaped = written("xy"), written(HAND * 9)
    if suffix == "png":
        edges = [np.asarray(Image.open(path).convert("L"))[:, :2].min() for path in (plain, escaped)]
        assert min(edges) > 250, "nothing is cut off on the left"
        assert Image.open(escaped).width > Image.open(plain).width
    assert escaped.stat().st_size > 500


def test_signs_of_other_scripts_take_more_room() -> None:
    assert columns("walk") == 4
    assert columns(HAND + GA) == 4
    assert columns("e\u0301") == 1
