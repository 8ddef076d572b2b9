"""Names find things, and wrong names find a hint."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import Registry, declared_in, unknown

BUILTIN = {"fraction": "fractions:Fraction", "decimal": "decimal:Decimal"}


@pytest.fixture
def numbers() -> Registry[type]:
    return Registry("number", "mmcl_bench.no_such_group", BUILTIN)


def test_a_name_finds_its_object(numbers: Registry[type]) -> None:
    from fractions import Fraction

    assert numbers.get("fraction") is Fraction


def test_listing_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = Registry[type]("number", "mmcl_bench.no_such_group", {"never": "no_such_module_at_all:Thing"})
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    assert lazy.names("n*") == ["never"]
    assert "never" in lazy


def test_globs_choose_names(numbers: Registry[type]) -> None:
    assert numbers.names("d*") == ["decimal"]


def test_a_near_miss_is_answered_with_the_near_name_and_the_list(numbers: Registry[type]) -> None:
    with pytest.raises(UserError, match=r"unknown number 'fracton'\. Did you mean fraction\? Known: decimal, fraction"):
        numbers.get("fracton")


def test_unknown_without_a_near_name_lists_all() -> None:
    assert unknown("split", "zzz", ["5/5"]) == "unknown split 'zzz'. Known: 5/5."


def test_registered_objects_come_and_go(numbers: Registry[type]) -> None:
    numbers.register("whole")(int)
    assert numbers.get("whole") is int
    with pytest.raises(ValueError, match="exists already"):
        numbers.register("whole")(float)
    numbers.unregister("whole")
    assert "whole" not in numbers


def test_entry_points_add_names_but_take_none_over(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = [
        metadata.EntryPoint("complex", "builtins:complex", "group"),
        metadata.EntryPoint("fraction", "builtins:str", "group"),
        metadata.EntryPoint("broken", "no_such_module_at_all:Thing", "group"),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: plugins if group == "group" else [])
    registry = Registry[type]("number", "group", BUILTIN)
    assert registry.get("complex") is complex
    assert registry.get("fraction").__name__ == "Fraction"
    with pytest.raises(UserError, match="number 'broken': its plugin"):
        registry.get("broken")


SHAPES = '''"""Shapes, as in ``name = "docstring"``."""

from typing import ClassVar

name = "of the module"


class Abstract:
    name: ClassVar[str]


class Circle(Abstract):
    """Round."""

    name: ClassVar[str] = "circle"

    def area(self):
        name = "of a variable"


class Ring(
    Circle,
):
    name = 'ring'  # in other quotes


def draw():
    name = "of a function"


class Computed:
    name = "-".join("ab")
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "shapes.py").write_text(SHAPES)
    return tmp_path


def test_classes_of_a_folder_are_found_by_the_names_in_their_bodies(folder: Path) -> None:
    (folder / "square.py").write_text('class Square:\n  name="square"\n  import no_such_module_at_all\n')
    (folder / "round" / "__init__.py").write_text('class Dot:\n    name = "dot"\n')
    assert declared_in("shapes", str(folder)) == {
        "dot": "shapes.round:Dot",
        "circle": "shapes.round.shapes:Circle",
        "ring": "shapes.round.shapes:Ring",
        "square": "shapes.square:Square",
    }


def test_two_classes_of_one_name_are_both_named(folder: Path) -> None:
    (folder / "disc.py").write_text('class Disc:\n    name = "circle"\n')
    with pytest.raises(UserError, match=r"'circle' is the name of both shapes\.disc:Disc and shapes\.round\.shapes:C"):
        declared_in("shapes", str(folder))
