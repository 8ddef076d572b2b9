"""Settings as text: what ``--set key=value`` and ``method[key=value]`` read, and how tables and commands write them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mmcl_bench.core.errors import UserError


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


_MEMBER = re.compile(r"(?P<method>[\w.-]*)(?:\[(?P<settings>.*)\])?", re.DOTALL)


def parse_member(text: str) -> tuple[str, dict[str, str]]:
    """The method's name, empty where none is given, and the settings of one member."""
    found = _MEMBER.fullmatch(text.strip())
    if found is None:
        raise UserError(f"--members: {text!r} should be method[key=value,key=value]")
    settings = {}
    for part in split_outside_brackets(found["settings"] or "", f"--members: {text!r}"):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise UserError(f"--members: {text!r} has {part!r} where key=value is expected")
        settings[key.strip()] = value.strip()
    return found["method"], settings


def member_text(method: str, settings: Mapping[str, Any]) -> str:
    """A member as :func:`parse_member` reads it."""
    listed = ",".join(f"{key}={setting_text(value)}" for key, value in sorted(settings.items()))
    return f"{method}[{listed}]" if listed else method


def split_outside_brackets(text: str, where: str) -> list[str]:
    """Parts between commas outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise UserError(f"{where}: its square brackets do not pair")
    return [part.strip() for part in parts if part.strip()]
