"""Settings as text: what ``--set key=value`` and ``method[key=value]`` read, and how tables and commands write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mmcl_bench.core.errors import UserError


def parse_setting(text: str, field: FieldInfo) -> Any:
    """Reads a value that was typed in, as the first of these that the field takes: JSON, text, names between ``+``.

    Text that it does not take comes back for the whole model to refuse, with the reason.
    """
    annotation: Any = field.annotation
    kind = TypeAdapter[Any](Annotated[(annotation, *field.metadata)] if field.metadata else annotation)
    value = _value(text)
    for candidate in (value, text, text.split("+")):
        try:
            taken = kind.validate_python(candidate)
        except ValidationError:
            continue
        # True is no number here, though pydantic takes it for 1.
        if isinstance(candidate, bool) == isinstance(taken, bool):
            return candidate
    return text if isinstance(value, bool) else value


def setting_text(value: Any) -> str:
    """A setting as :func:`parse_setting` reads it: text as it is, names with ``+`` between them, JSON for the rest.

    Text that :func:`each_of` would part is JSON as well.
    """
    text = "+".join(value) if _is_list_of_names(value) and not any("+" in name for name in value) else value
    if isinstance(text, str) and isinstance(_value(text), str) and "," not in text.partition("[")[0]:
        return text
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _is_list_of_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def each_of(text: str, where: str) -> list[str]:
    """The values that have commas between them outside brackets; a JSON value, such as text in quotes, is one.

    ``where`` begins the message of a :class:`UserError`.
    """
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return list(dict.fromkeys(split_outside_brackets(text, where))) or [text]
    return [text]


def parse_bracketed(text: str, where: str, several: bool = False) -> tuple[str, dict[str, str]]:
    """The name and the settings of ``name[key=value,key=value]``.

    The name may be empty, and the brackets may be missing. With ``several``, a setting may have several values, as
    :func:`each_of` parts them: what follows a comma without ``key=`` is one more value of the setting before it.
    ``where`` begins the message of a :class:`UserError`.

    >>> parse_bracketed("coral[features=extractor,joints,Cs=[0.1,1]]", "--method", several=True)
    ('coral', {'features': 'extractor,joints', 'Cs': '[0.1,1]'})
    """
    name, opening, rest = text.strip().partition("[")
    if bool(opening) != rest.endswith("]"):
        raise UserError(f"{where}: its square brackets do not pair; it should be name[key=value,key=value]")
    settings: dict[str, str] = {}
    for part in split_outside_brackets(rest.removesuffix("]"), where):
        key, equals, value = part.partition("=")
        if several and settings and not equals:
            settings[next(reversed(settings))] += f",{part}"
            continue
        if not equals or not key:
            raise UserError(f"{where}: {part!r} in the brackets is not key=value")
        settings[key.strip()] = value.strip()
    return name, settings


PRESET = "preset"
"""What names a preset in the brackets of a method."""


def member_text(method: str, settings: Mapping[str, Any]) -> str:
    """A method and its settings as :func:`parse_bracketed` reads them."""
    listed = ",".join(f"{key}={setting_text(value)}" for key, value in sorted(settings.items()))
    return f"{method}[{listed}]" if listed else method


def split_outside_brackets(text: str, where: str) -> list[str]:
    """Parts between commas outside square brackets and the braces of JSON."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise UserError(f"{where}: its square brackets do not pair")
    return [part.strip() for part in parts if part.strip()]
