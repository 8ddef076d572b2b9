"""Figures look alike everywhere: the user's backend, matplotlibrc and fonts play no part, and stay as they are.

Every figure is drawn inside :func:`own_style`, and every text that a user can choose goes through :func:`drawable`.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

FONT = "DejaVu Sans"
"""Comes with matplotlib."""
_STYLE: dict[str, Any] = {
    "font.family": [FONT],
    # Names come from task cards and plugins: a dollar sign in one is a dollar sign.
    "text.parse_math": False,
    "pdf.fonttype": 42,
}
_UNDRAWN = frozenset("\ufe0e\ufe0f")
"""Choose between a sign as text and as picture."""
_NOT_FOR_TEXT = ("Last Resort", "LastResort", "Adobe Blank", "cm", "STIXSize", "STIXNonUnicode")
"""How the names of fonts begin that draw boxes, nothing, or other signs than the text has."""


@contextmanager
def own_style() -> Iterator[None]:
    """Inside, matplotlib draws with its own defaults and ours; afterwards the user's settings are what they were."""
    log = logging.getLogger("matplotlib")
    level = log.level
    # A faulty line of the user's matplotlibrc, a cache folder that is read-only: nothing of it is in our figures.
    log.setLevel(logging.ERROR)
    try:
        import_matplotlib()
        import matplotlib

        with warnings.catch_warnings(), matplotlib.rc_context():
            warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)
            style: Any = {name: value for name, value in matplotlib.rcParamsDefault.items() if "backend" not in name}
            matplotlib.rcParams.update(style | _STYLE)
            yield
    finally:
        log.setLevel(level)


def import_matplotlib() -> None:
    """Imports matplotlib, also where the user's backend or matplotlibrc is one that it refuses."""
    try:
        import matplotlib
    except (ValueError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            with tempfile.TemporaryDirectory() as folder, chdir(folder):
                # The one in the working directory comes before all others.
                Path("matplotlibrc").touch()
                import matplotlib  # noqa: F401
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend


def picture_of(figure: Figure) -> Image:
    """The figure as RGB pixels, of whatever whole size its width and height in inches come to."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def drawable(text: str) -> tuple[str, list[str]]:
    """A text as it can be drawn, and the font families to draw it with, for ``fontfamily``.

    A sign that :data:`FONT` lacks is drawn with a font of this machine that has it. Where none has, it is written as an
    escape, such as ``\\u624b``: never as an empty box. To be called inside :func:`own_style`.
    """
    shown, families = [], [FONT]
    for sign in text:
        family = None if sign.isspace() else _family_with(sign)
        if family == "" and (sign in _UNDRAWN or unicodedata.category(sign) == "Cf"):
            continue
        shown.append(sign.encode("unicode_escape").decode("ascii") if family == "" else sign)
        if family and family not in families:
            families.append(family)
    return "".join(shown), families


@cache
def _family_with(sign: str) -> str:
    """The font family that draws a sign: :data:`FONT` where it can, empty where none of this machine's can."""
    from matplotlib import font_manager

    if _draws(font_manager.findfont(FONT), sign):
        return FONT
    upright = (font for font in font_manager.fontManager.ttflist if font.style == "normal")
    for font in sorted(upright, key=lambda font: (font.name, abs(_weight(font.weight) - 400), font.fname)):
        if not font.name.startswith(_NOT_FOR_TEXT) and _draws(font.fname, sign):
            return str(font.name)
    return ""


def _weight(weight: int | str) -> int:
    from matplotlib.font_manager import weight_dict

    return weight if isinstance(weight, int) else int(weight_dict.get(weight, 400))


@cache
def _signs_of(path: str) -> frozenset[int]:
    """The code points that a font has outlines for; none of a font of pictures, which cannot be scaled."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


def _draws(path: str, sign: str) -> bool:
    """Whether a font has a sign, with an outline."""
    from matplotlib.ft2font import FT2Font

    if ord(sign) not in _signs_of(path):
        return False
    try:
        font = FT2Font(path)
        font.set_size(12, 72)
        font.load_char(ord(sign))
    except (OSError, RuntimeError):
        return False
    return len(font.get_path()[0]) > 0
