"""A method's settings as text: what ``--set key=value`` reads, and how tables and commands write it."""

from __future__ import annotations

import json
from typing import Any

from mmcl_bench.errors import UserError


def parse_setting(method: str, key: str, text: str, default: Any) -> Any:
    """Reads an override as JSON, or as a bare word where the setting is text, and keeps the default's type.

    A list of names may also be written with ``+`` between them. Raises :class:`UserError` for another type.
    """
    value = _value(text)
    if isinstance(value, str) and _is_list_of_names(default):
        value = value.split("+")
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if default is not None and type(value) is not type(default):
        raise UserError(f"method {method}: setting {key}={text} should be {type(default).__name__}, like {default!r}")
    return value


def setting_text(value: Any) -> str:
    """A setting as :func:`parse_setting` reads it: text as it is, names with ``+`` between them, JSON for the rest."""
    text = "+".join(value) if _is_list_of_names(value) and not any("+" in name for name in value) else value
    if isinstance(text, str) and isinstance(_value(text), str):
        return text
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
