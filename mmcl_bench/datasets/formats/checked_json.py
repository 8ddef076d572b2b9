"""JSON of a known form, from bytes that nobody vouches for."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mmcl_bench.datasets.formats.archive import BadFile, text_bytes

_Form = TypeVar("_Form", bound=BaseModel)


def read_json(form: type[_Form], content: bytes) -> _Form:
    """The JSON in ``content`` when it is of the form; raises :class:`BadFile` when it is not."""
    try:
        return form.model_validate_json(text_bytes(content))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"][:6])
        raise BadFile(f"is not as published: {where + ': ' if where else ''}{first['msg']}") from error
