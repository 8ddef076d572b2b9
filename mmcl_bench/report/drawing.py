"""How the report's figures look, and how matplotlib's figures become SVG for the page, PNG and PDF.

A figure is drawn once, in the colours of :data:`LIGHT`. Its SVG names them as variables of the page's style sheet,
which has others for dark; files are light.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary
from xml.etree import ElementTree

from mmcl_bench.core.plotting import FONT, drawable, own_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

Draw = Callable[[], "Figure"]
"""How to draw a figure, which is asked for where it is needed."""

LIGHT = {
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
DARK = {
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
PALETTE = ("c0", "c1", "c2", "c3", "c4", "c5", "c6")
MARKERS = "osD^vPX"
TIP = "tip:"
"""What the ``gid`` of an artist begins with whose further text the page shows when it is pointed at."""
_STYLE = {
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT["dim"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.titlecolor": LIGHT["ink"],
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["dim"],
    "ytick.color": LIGHT["dim"],
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "grid.color": LIGHT["line"],
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.markersize": 5,
    "svg.fonttype": "none",
}
_NAMESPACE = re.compile(r"\{.*?\}")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_VARIABLES = {value: f"var(--{name})" for name, value in LIGHT.items()}
# The browser has its own fonts; the others say nothing here.
_LEFT_OUT = {"font-family", "vector-effect", "stroke-dashoffset"}


def look(place: int) -> tuple[str, str]:
    """Colour and marker of the method, class or curve at a place of its list."""
    return LIGHT[PALETTE[place % len(PALETTE)]], MARKERS[(place + place // len(PALETTE)) % len(MARKERS)]


VALUES = ", values "
"""Stands between a method's label and a number, where its preset has had several meanings."""


def look_of(looks: Mapping[str, tuple[str, str]], name: str) -> tuple[str, str]:
    """Colour and marker of a method by its label, with or without such a number."""
    return looks[name] if name in looks else looks[name.rpartition(VALUES)[0]]


def shortened(text: str, letters: int) -> str:
    """At most so many letters, without control characters; the middle goes."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2
    return f"{text[:head]}…{text[len(text) - (letters - 1 - head) :]}"


@contextmanager
def chart_style() -> Iterator[None]:
    """Inside, figures look as those of a report do."""
    with own_style(), warnings.catch_warnings():
        # Of the SVG, whose texts the browser draws.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        import matplotlib

        settings: Any = _STYLE
        with matplotlib.rc_context(settings):
            yield


def to_svg(figure: Figure, name: str, title: str) -> str:
    """An ``<svg>`` element without styles of its own, which the page's policy would not allow.

    ``name`` keeps its identifiers apart from those of other figures of the page.
    """
    import matplotlib

    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", facecolor="none", bbox_inches=_shown(figure), metadata={"Date": None})
    source = ElementTree.fromstring(drawn.getvalue())  # noqa: S314 - written by matplotlib
    width, height = source.attrib["viewBox"].split()[2:]
    size = {"width": f"{float(width):.0f}", "viewBox": f"0 0 {float(width):.1f} {float(height):.1f}"}
    element = ElementTree.Element("svg", {"role": "img", "aria-label": " – ".join(title.splitlines()), **size})
    element.extend(part for child in source for part in _plain(child))
    return ElementTree.tostring(element, encoding="unicode")


_MEASURED: WeakKeyDictionary[Figure, Bbox] = WeakKeyDictionary()
"""Measuring lays out every text, which takes as long as drawing."""


def extent_of(figure: Figure) -> Bbox:
    """What is drawn, in inches; measured once, so what is drawn later has to come by :func:`add_text`."""
    if figure not in _MEASURED:
        _MEASURED[figure] = figure.get_tightbbox().frozen()
    return _MEASURED[figure]


def add_text(figure: Figure, left: float, top: float, text: str, **look: Any) -> None:
    """Adds a text to a figure and to its extent, at a place in inches."""
    from matplotlib.transforms import Bbox

    before = extent_of(figure)
    added = figure.text(left / figure.get_figwidth(), top / figure.get_figheight(), text, **look)
    inches = added.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    _MEASURED[figure] = Bbox.union([before, inches])


def _shown(figure: Figure) -> Any:
    """The extent with a margin. ``bbox_inches="tight"`` is the same and draws everything once more."""
    return extent_of(figure).padded(0.06)


def _plain(source: ElementTree.Element, within_definitions: bool = False) -> Iterator[ElementTree.Element]:
    """An element of matplotlib's SVG with attributes for its styles, or its parts where it only groups them."""
    tag = _NAMESPACE.sub("", source.tag)
    if tag in ("metadata", "style"):
        return
    attributes = dict(_attributes(source, within_definitions or tag in ("image", "clipPath")))
    parts = [part for child in source for part in _plain(child, tag == "defs")]
    _share(attributes, [part for part in parts if part.tag == "use"])
    identifier = source.attrib.get("id", "")
    if identifier.startswith(TIP):
        title = ElementTree.Element("title")
        title.text = identifier.removeprefix(TIP)
        parts.insert(0, title)
    elif tag in ("g", "defs") and not (parts and attributes):
        if tag == "g":
            yield from parts
            return
        if not parts:
            return
    if tag == "path" and attributes.get("fill") == "none" and "stroke" not in attributes:
        return
    element = ElementTree.Element(tag, attributes)
    element.text = source.text if tag == "text" else None
    element.extend(parts)
    yield element


def _share(attributes: dict[str, str], markers: Sequence[ElementTree.Element]) -> None:
    """Moves what all markers of a group have in common to the group, which makes a cloud of points half as large."""
    if len(markers) > 1:
        shared = set.intersection(*(set(marker.attrib.items()) for marker in markers))
        for key, value in sorted(shared):
            if key.startswith(("fill", "stroke")):
                attributes[key] = value
                for marker in markers:
                    del marker.attrib[key]


def _attributes(source: ElementTree.Element, with_identifier: bool) -> Iterator[tuple[str, str]]:
    for key, value in source.attrib.items():
        name = _NAMESPACE.sub("", key)
        if name == "style":
            for style in filter(None, map(str.strip, value.split(";"))):
                what, _, how = style.partition(":")
                if what == "font":  # weight, size and family in one
                    found = re.match(r"\s*(?:(?P<weight>\S+) )?(?P<size>[\d.]+px)", how)
                    if found:
                        yield "font-size", found["size"]
                        if found["weight"]:
                            yield "font-weight", found["weight"]
                elif what not in _LEFT_OUT:
                    yield what, _VARIABLES.get(how.strip(), how.strip())
        elif (name != "id" or with_identifier) and not value.startswith("rotate(-0 "):
            exact = name == "href" or "matrix" in value or "scale" in value
            yield name, value if exact else _short(value)


def _short(value: str) -> str:
    """With two decimals at most, on one line."""
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", " ".join(value.split()))


def write_file(figure: Figure, title: str, path: Any, suffix: str) -> None:
    """Writes a ``png`` or ``pdf`` with the title on top; equal figures give equal bytes.

    Texts become such as the fonts of this machine can draw: the figure is of no use for another SVG.
    """
    from matplotlib.text import Text

    if not figure.texts or figure.texts[-1].get_gid() != "title":
        inches = extent_of(figure)
        letters = max(20, int(inches.width * 72 / 6.6))
        lines = [part for line in title.splitlines() for part in textwrap.wrap(shortened(line, 400), letters)]
        look: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 11, "gid": "title"}
        add_text(figure, inches.x0 + inches.width / 2, inches.y1 + 0.12, "\n".join(lines), **look)
        for text in figure.findobj(Text):
            parts = [drawable(line) for line in text.get_text().split("\n")]
            families = list(dict.fromkeys(name for _, names in parts for name in names))
            shown = "\n".join(line for line, _ in parts)
            if shown != text.get_text() or families != [FONT]:
                text.set(text=shown, fontfamily=families)
                _MEASURED.pop(figure, None)
    if suffix == "png":
        _write_png(figure, path)
    else:
        # What would make equal figures differ between days or versions.
        metadata: Any = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(path, format=suffix, bbox_inches=_shown(figure), metadata=metadata)


def _write_png(figure: Figure, path: Any) -> None:
    """With a palette, which a dozen colours and their shades at edges fit: a quarter of the size."""
    from PIL import Image

    drawn = io.BytesIO()
    # Pixels as they are: an uncompressed PNG takes several times as long.
    figure.savefig(drawn, format="tif", dpi=160, bbox_inches=_shown(figure))
    colors = Image.open(drawn).convert("RGB")
    # The octree keeps colours that few pixels have.
    picture = colors.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(path, format="png", optimize=True, dpi=(160, 160))
