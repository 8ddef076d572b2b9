"""Facts as data: the TOML files in ``protocols/``, each of which states its own source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import packaged
from mmcl_bench.core.records import read_toml
from mmcl_bench.core.registry import unknown

Label = Annotated[int, Field(ge=0, strict=True)]
"""A zero-based class number."""
Words = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
"""One line of text without blanks at its ends."""


class Fact(BaseModel):
    """The content of a file, or of a part of it; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Content = TypeVar("Content", bound=Fact)


def fact_names(folder: str) -> list[str]:
    """The files in a folder of ``protocols/``, by name without ending."""
    return sorted(path.stem for path in _folder(folder).glob("*.toml"))


def read_fact(folder: str, kind: str, name: str, model: type[Content]) -> Content:
    """One file of a folder of ``protocols/``, checked. Raises :class:`UserError` with the nearest names without it."""
    known = fact_names(folder)
    if name not in known:
        raise UserError(unknown(kind, name, known))
    return read_toml(_folder(folder) / f"{name}.toml", model, kind)


def _folder(folder: str) -> Path:
    return packaged("protocols") / folder
