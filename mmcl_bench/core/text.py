"""Text for people and for names of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

_SHOWN = 8


def slug(text: str, longest: int = 72) -> str:
    """Lower-case ASCII letters, digits and single hyphens, for names of files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-") or "unnamed"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its class name if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def some_of(names: Sequence[str], count: int | None = None) -> str:
    """The first eight names, and how many more there are; ``count`` in all, where ``names`` are the first of them."""
    left = (len(names) if count is None else count) - len(names[:_SHOWN])
    more = f" and {left:,} more" if left > 0 else ""
    return ", ".join(names[:_SHOWN]) + more


def columns(text: str) -> int:
    """How many letters wide a text is: signs of Chinese, Japanese and Korean and emoji take two, accents none."""
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)
