"""Tiny sources of all readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import published


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny source of a reader, made once."""
    made: dict[str, Path] = {}

    def source(name: str) -> Path:
        if name not in made:
            made[name] = published.write(name, tmp_path_factory.mktemp(name))
        return made[name]

    return source
