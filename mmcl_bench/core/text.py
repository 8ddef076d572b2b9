"""Text for people and for names of files."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHOWN = 8
_NUMBERED = re.compile(r"(.+)-([0-9]{1,3})")


def slug(text: str, longest: int = 72) -> str:
    """Lower-case ASCII letters, digits and single hyphens, for names of files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-") or "unnamed"


def numbered(name: str) -> tuple[str, int] | None:
    """``("fold", 3)`` of ``fold-3``; None for a name that does not end so."""
    match = _NUMBERED.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its class name if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def some_of(names: Sequence[str]) -> str:
    """The first eight names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
