"""What several tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typing_in import Said, type_in


@pytest.fixture
def typed(
    toy_data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """Types a line, with words that it does not split, on the toy sets, with a folder of results of its own."""
    monkeypatch.setenv("MMCL_BENCH_DATA", str(toy_data_root))
    monkeypatch.setenv("MMCL_BENCH_RESULTS", str(tmp_path / "results"))
    return lambda line, *words: type_in([*line.split(), *words], monkeypatch, capsys)
