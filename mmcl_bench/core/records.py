"""TOML files that are written by hand: task cards, suites, facts."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import read_text

Content = TypeVar("Content", bound=BaseModel)


def read_toml(path: Path, model: type[Content], what: str) -> Content:
    """The content of a file, checked. Raises :class:`UserError` with the file and the field that is wrong."""
    try:
        content: Content = _parsed(read_text(path), model)
        return content
    except ValidationError as error:
        where, message = first_fault(error)
        raise UserError(f"{path}: {where or what}: {message.rstrip('.')}; mend the {what}") from error
    # Beside what is no TOML and no UTF-8, a number of thousands of digits is a ValueError.
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable {what} ({error})") from error


def first_fault(error: ValidationError) -> tuple[str, str]:
    """The field that is wrong, as ``outer.inner``, empty for the whole; and what is wrong with it."""
    first = error.errors()[0]
    # A validator of ours says what is wrong after pydantic's heading.
    return ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")


@functools.lru_cache(maxsize=256)
def _parsed(text: str, model: type[BaseModel]) -> Any:
    """The checked content of a TOML text. Equal text is parsed once a process, whatever file it is in."""
    return model.model_validate(tomllib.loads(text))
