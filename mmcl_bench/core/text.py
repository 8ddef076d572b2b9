"""Text for people and for names of files."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

_SHOWN = 8
# The mark of UTF-32 begins with that of UTF-16.
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, and the encodings that they announce."""


def as_utf8(content: bytes, errors: str = "strict") -> bytes:
    """Text without its byte order mark. Text that has none, and need not be UTF-8 then, comes back as it is.

    Editors and shells of Windows write such marks. Raises :class:`UnicodeDecodeError` where the mark announces UTF-16
    or UTF-32 and the rest is not in it.
    """
    for mark, encoding in _WIDE:
        if content.startswith(mark):
            return content.decode(encoding, errors).encode()
    return content.removeprefix(codecs.BOM_UTF8)


def slug(text: str, longest: int = 72) -> str:
    """Lower-case ASCII letters, digits and single hyphens, for names of files and anchors."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-") or "unnamed"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its class name if the message is empty."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def some_of(names: Sequence[str]) -> str:
    """The first eight names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
