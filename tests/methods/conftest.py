"""What the tests of methods share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from methods.test_methods import FirstFit


@pytest.fixture(autouse=True)
def _small_backbone(small_backbone: str) -> None:
    """Is there in all tests of methods."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where methods find what an earlier one has made, such as an extractor."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def first_fit(
    small_backbone: str, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], FirstFit]:
    """A method on a family of tasks, fitted once for all tests that only ask it for scores."""
    from methods.test_methods import FirstFit

    return cache(lambda name, family: FirstFit.of(name, family, tmp_path_factory.mktemp("first"), shared))
