"""Drawings: marks at places, written as SVG for the page or as a matplotlib figure for files.

Charts put marks on a :class:`Drawing` once. The SVG names colours by class, so that the page's style sheet chooses them
for light and dark; files are light. Building a drawing and its SVG takes a millisecond or two, a file a hundred times
that.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mmcl_bench.core.plotting import FONT, drawable, own_style
from mmcl_bench.core.text import columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

Point = tuple[float, float]
Color = Literal["ink", "dim", "line", "page", "c0", "c1", "c2", "c3", "c4", "c5", "c6"]
Anchor = Literal["start", "middle", "end"]

PALETTE: tuple[Color, ...] = ("c0", "c1", "c2", "c3", "c4", "c5", "c6")
MARKERS = ("circle", "square", "triangle", "diamond", "wedge", "plus", "cross")
LIGHT: dict[Color, str] = {
    "ink": "#1b1f24",
    "dim": "#5a6472",
    "line": "#d8dde3",
    "page": "#ffffff",
    "c0": "#0072b2",
    "c1": "#c24e00",
    "c2": "#00805f",
    "c3": "#b0508b",
    "c4": "#a87400",
    "c5": "#3a8fc0",
    "c6": "#444444",
}
"""Okabe and Ito, "Color Universal Design" (2008), darkened where thin lines on white need it; methods differ by marker
as well."""
DARK: dict[Color, str] = {
    "ink": "#e4e8ee",
    "dim": "#9aa5b4",
    "line": "#3a424e",
    "page": "#14171c",
    "c0": "#4aa8e8",
    "c1": "#ff8a45",
    "c2": "#35c49d",
    "c3": "#e79ccb",
    "c4": "#f0b53a",
    "c5": "#9fd8fb",
    "c6": "#c8ccd2",
}
"""The same hues, lightened."""
_GLYPHS: dict[str, tuple[Point, ...]] = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "wedge": ((0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    "plus": (
        *((-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)),
        *((0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4)),
    ),
    "cross": (
        *((-1.1, -0.55), (-0.55, -1.1), (0, -0.55), (0.55, -1.1), (1.1, -0.55), (0.55, 0)),
        *((1.1, 0.55), (0.55, 1.1), (0, 0.55), (-0.55, 1.1), (-1.1, 0.55), (-0.55, 0)),
    ),
    "star": (
        *((0, -1.7), (0.42, -0.55), (1.6, -0.5), (0.68, 0.22), (1, 1.4)),
        *((0, 0.7), (-1, 1.4), (-0.68, 0.22), (-1.6, -0.5), (-0.42, -0.55)),
    ),
}
"""Outlines in radii, y down; ``circle`` is none of them."""
_LETTER = 0.6
"""Width of a letter over its size, rather too wide."""


@dataclass(frozen=True)
class Line:
    points: tuple[Point, ...]
    color: Color
    width: float = 1.0
    dashed: bool = False
    opacity: float = 1.0


@dataclass(frozen=True)
class Boxes:
    """Rectangles (left, top, width, height) of one colour."""

    places: tuple[tuple[float, float, float, float], ...]
    color: Color
    opacity: float = 1.0


@dataclass(frozen=True)
class Markers:
    """Places that share a glyph."""

    places: tuple[Point, ...]
    glyph: str
    color: Color
    filled: bool = True
    radius: float = 4.0
    opacity: float = 1.0
    tip: str = ""
    """Shown on the page when pointed at."""


@dataclass(frozen=True)
class Text:
    place: Point
    """Where the anchor of its base line lies."""
    text: str
    color: Color = "ink"
    size: float = 11.0
    anchor: Anchor = "start"
    upright: bool = False
    """Turned a quarter to the left: reads from below."""
    bold: bool = False


@dataclass
class Drawing:
    """Marks on a canvas of CSS pixels, (0, 0) at the upper left."""

    title: str
    """Its lines stand on top of files; on the page it is the caption."""
    width: float
    height: float
    marks: list[Line | Boxes | Markers | Text] = field(default_factory=list)

    def line(self, points: Sequence[Point], color: Color, **look: Any) -> None:
        self.marks.append(Line(tuple((float(x), float(y)) for x, y in points), color, **look))

    def boxes(self, places: Sequence[tuple[float, float, float, float]], color: Color, opacity: float = 1.0) -> None:
        if places:
            self.marks.append(Boxes(tuple(places), color, opacity))

    def markers(self, places: Sequence[Point], glyph: str, color: Color, **look: Any) -> None:
        if len(places):
            self.marks.append(Markers(tuple((float(x), float(y)) for x, y in places), glyph, color, **look))

    def frame(self, left: float, top: float, width: float, height: float, color: Color) -> None:
        """The outline of a rectangle."""
        right, bottom = left + width, top + height
        self.line([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], color)

    def text(self, place: Point, text: str, **look: Any) -> None:
        self.marks.append(Text((float(place[0]), float(place[1])), text, **look))

    @property
    def digest(self) -> str:
        """sha256 of all that a file shows."""
        return hashlib.sha256(repr((self.title, self.width, self.height, self.marks)).encode()).hexdigest()


def text_width(text: str, size: float = 11.0) -> float:
    """About as wide as a text is, in pixels."""
    return _LETTER * size * columns(text)


def shortened(text: str, letters: int) -> str:
    """At most so many letters; the middle goes."""
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


def to_svg(drawing: Drawing) -> str:
    """An ``<svg>`` element without a style of its own: colours, fonts and line caps are those of ``page.css``."""
    label = html.escape(" – ".join(drawing.title.splitlines()), quote=True)
    size = f'width="{drawing.width:.0f}" viewBox="0 0 {drawing.width:.0f} {drawing.height:.0f}"'
    body = "".join(_svg_mark(mark) for mark in drawing.marks)
    return f'<svg role="img" aria-label="{label}" {size}>{body}</svg>'


def _svg_mark(mark: Line | Boxes | Markers | Text) -> str:
    match mark:
        case Line():
            dash = ' stroke-dasharray="3 3"' if mark.dashed else ""
            width = "" if mark.width == 1 else f' stroke-width="{mark.width:g}"'
            return f'<path class="l {mark.color}"{width}{dash}{_opacity(mark.opacity)} d="M{_path(mark.points)}"/>'
        case Boxes():
            path = "".join(f"M{_n(x)} {_n(y)}h{_n(w)}v{_n(h)}h{_n(-w)}z" for x, y, w, h in mark.places)
            return f'<path class="f {mark.color}"{_opacity(mark.opacity)} d="{path}"/>'
        case Markers():
            path = "".join(_glyph_path(mark.glyph, place, mark.radius) for place in mark.places)
            kind = "m" if mark.filled else "m o"
            attributes = f'class="{kind} {mark.color}"{_opacity(mark.opacity)} d="{path}"'
            if not mark.tip:
                return f"<path {attributes}/>"
            return f"<path {attributes}><title>{html.escape(mark.tip)}</title></path>"
        case Text():
            x, y = mark.place
            classes = " ".join(["t", mark.color] + ["b"] * mark.bold)
            anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
            turned = f' transform="rotate(-90 {_n(x)} {_n(y)})"' if mark.upright else ""
            size = "" if mark.size == 11 else f' font-size="{mark.size:g}"'
            attributes = f'class="{classes}" x="{_n(x)}" y="{_n(y)}"{size}{anchor}{turned}'
            return f"<text {attributes}>{html.escape(mark.text)}</text>"


def _glyph_path(glyph: str, place: Point, radius: float) -> str:
    x, y = place
    if glyph == "circle":
        r = _n(radius)
        return f"M{_n(x - radius)} {_n(y)}a{r} {r} 0 1 0 {_n(2 * radius)} 0a{r} {r} 0 1 0 {_n(-2 * radius)} 0"
    outline = [(dx * radius, dy * radius) for dx, dy in _GLYPHS[glyph]]
    (first_x, first_y), *rest = outline
    steps = zip(outline, rest, strict=False)
    moves = _path((b[0] - a[0], b[1] - a[1]) for a, b in steps)
    return f"M{_n(x + first_x)} {_n(y + first_y)}l{moves}z"


def _path(points: Iterable[Point]) -> str:
    return " ".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(value: float) -> str:
    """A number with one decimal at most."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def _opacity(value: float) -> str:
    return "" if value == 1 else f' opacity="{value:g}"'


_POINTS = 0.72
"""Points in a pixel of a file, which has 100 an inch."""
_TITLE_SIZE = 12.0


def write_file(drawing: Drawing, path: Any, suffix: str) -> None:
    """Writes a ``png`` or ``pdf``; equal drawings give equal bytes."""
    with own_style():
        figure = to_figure(drawing)
        if suffix == "png":
            _write_png(figure, path)
        else:
            # What would make equal figures differ between days or versions.
            metadata: Any = {"CreationDate": None, "Creator": None, "Producer": None}
            figure.savefig(path, format=suffix, metadata=metadata)


def _write_png(figure: Figure, path: Any) -> None:
    """With a palette, which a dozen colours and their shades at edges fit: a quarter of the size."""
    import io

    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=160, pil_kwargs={"compress_level": 0})
    colors = Image.open(drawn).convert("RGB")
    # The octree keeps colours that few pixels have.
    picture = colors.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(path, format="png", optimize=True, dpi=(160, 160))


def to_figure(drawing: Drawing) -> Figure:
    """The drawing below its title as a matplotlib figure of 100 pixels an inch, in light colours."""
    from matplotlib.figure import Figure

    lines = [part for line in drawing.title.splitlines() for part in _wrapped(drawable(line)[0], drawing.width)]
    left, right, above, bottom = _extent(drawing)
    top = above - (1.4 * _TITLE_SIZE * len(lines) + 10)
    figure = Figure(figsize=((right - left) / 100, (bottom - top) / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for at, line in enumerate(lines, 1):
        place = (drawing.width / 2, top + 1.4 * _TITLE_SIZE * at)
        _draw_text(axes, Text(place, line, size=_TITLE_SIZE, anchor="middle"))
    for order, mark in enumerate(drawing.marks):
        _draw(axes, mark, order)
    return figure


def _extent(drawing: Drawing) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of the canvas, with room for names in another script or in escapes."""
    left, right, top, bottom = 0.0, drawing.width, 0.0, drawing.height
    for mark in drawing.marks:
        if isinstance(mark, Text) and drawable(mark.text) != (mark.text, [FONT]):
            x, y = mark.place
            width = text_width(drawable(mark.text)[0], mark.size)
            before = {"start": 0.0, "middle": width / 2, "end": width}[mark.anchor]
            if mark.upright:
                top, bottom = min(top, y - (width - before)), max(bottom, y + before)
            else:
                left, right = min(left, x - before), max(right, x + width - before)
    return left, right, top, bottom


def _wrapped(line: str, width: float) -> list[str]:
    import textwrap

    wide = columns(line) / max(1, len(line))
    return textwrap.wrap(line, max(10, int(width / (_LETTER * _TITLE_SIZE * wide))))


def _draw(axes: Axes, mark: Line | Boxes | Markers | Text, order: int) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    match mark:
        case Line():
            xs, ys = zip(*mark.points, strict=True)
            dashes: Any = (0, (3, 3)) if mark.dashed else "-"
            look: dict[str, Any] = {"linewidth": mark.width * _POINTS, "linestyle": dashes, "alpha": mark.opacity}
            axes.add_line(Line2D(xs, ys, color=LIGHT[mark.color], zorder=order, **look))
        case Boxes():
            corners = [((x, y), (x + w, y), (x + w, y + h), (x, y + h)) for x, y, w, h in mark.places]
            look = {"alpha": mark.opacity, "linewidths": 0, "zorder": order}
            axes.add_collection(PolyCollection(corners, facecolors=LIGHT[mark.color], **look))
        case Markers():
            fill = LIGHT[mark.color] if mark.filled else LIGHT["page"]
            glyphs = Path.make_compound_path(*(_glyph(mark.glyph, place, mark.radius) for place in mark.places))
            look = {"linewidth": 1.2 * _POINTS, "alpha": mark.opacity, "zorder": order}
            axes.add_patch(PathPatch(glyphs, facecolor=fill, edgecolor=LIGHT[mark.color], **look))
        case Text():
            _draw_text(axes, mark, order)


def _glyph(name: str, place: Point, radius: float) -> Path:
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

    outline = Path.unit_circle() if name == "circle" else Path([*_GLYPHS[name], (0, 0)], closed=True)
    return outline.transformed(Affine2D().scale(radius).translate(*place))


def _draw_text(axes: Axes, text: Text, order: int = 0) -> None:
    shown, families = drawable(text.text)
    axes.text(
        *text.place,
        shown,
        fontfamily=families,
        color=LIGHT[text.color],
        fontsize=text.size * _POINTS,
        fontweight="bold" if text.bold else "normal",
        horizontalalignment={"start": "left", "middle": "center", "end": "right"}[text.anchor],
        verticalalignment="baseline",
        rotation=90 if text.upright else 0,
        rotation_mode="anchor",
        zorder=order,
    )
