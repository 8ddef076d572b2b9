"""What lists say is kept, and is what the code says."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from mmcl_bench.cli import descriptions
from mmcl_bench.cli.descriptions import described
from mmcl_bench.core.registry import Registry


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    return tmp_path / "lists" / "shapes.json"


@pytest.fixture
def asked() -> list[object]:
    return []


def rows(asked: list[object], pattern: str = "*", entries: tuple[str, ...] = ("sin", "cos")) -> list[dict[str, str]]:
    registry = Registry[object]("shape", "shapes", {name: f"math:{name}" for name in entries})

    def describe(thing: object) -> dict[str, str]:
        asked.append(thing)
        return {"is": str(thing)}

    return described(registry, pattern, describe)


def test_the_second_list_imports_nothing_and_says_the_same(asked: list[object]) -> None:
    first = rows(asked)
    assert [row["shape"] for row in first] == ["cos", "sin"]
    assert rows(asked) == first
    assert len(asked) == 2


def test_entries_that_no_list_asked_for_are_described_when_one_does(asked: list[object]) -> None:
    rows(asked, "s*")
    assert [row["shape"] for row in rows(asked)] == ["cos", "sin"]
    assert len(asked) == 2


def test_other_code_is_described_anew(asked: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    rows(asked)
    monkeypatch.setattr(descriptions, "_code", lambda: "another")
    rows(asked)
    assert len(asked) == 4


def test_what_is_kept_may_be_damaged(asked: list[object], cache: Path) -> None:
    first = rows(asked)
    for damage in ("{", "[]", "{}"):
        cache.write_text(damage)
        assert rows(asked) == first


def test_a_cache_that_cannot_be_written_costs_time_alone(asked: list[object], cache: Path) -> None:
    cache.parent.write_text("no folder")
    assert rows(asked) == rows(asked)
    assert len(asked) == 4


def test_plugins_are_imported_every_time(asked: list[object]) -> None:
    registry = Registry[object]("shape", "shapes", {})
    registry.register("mine")(asked)
    described(registry, "*", lambda thing: {"is": "one"})
    assert described(registry, "*", lambda thing: {"is": "other"}) == [{"shape": "mine", "is": "other"}]
