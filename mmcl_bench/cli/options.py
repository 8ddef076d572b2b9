"""Options that several verbs read alike."""

from __future__ import annotations

from collections.abc import Sequence

from mmcl_bench.errors import UserError


def key_values(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """What a repeatable ``key=value`` option says. Raises :class:`UserError` for one without the equals sign."""
    pairs = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {text}: expected key=value")
        pairs[key] = value
    return pairs
