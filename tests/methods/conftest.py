"""What the tests of methods share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _small_backbone(small_backbone: str) -> None:
    """Is there in all tests of methods."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where methods find what an earlier one has made, such as an extractor."""
    return tmp_path_factory.mktemp("shared")
