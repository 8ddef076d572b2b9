"""Class maps of one's own, in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

import published
from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.prepare import prepare
from mmcl_bench.protocols.cards import Task
from mmcl_bench.protocols.catalogue import find_task, load_task

TWO = """
[[shared]]
name = "greeting"
source = ["wave", 4]
target = "wave"

[[shared]]
name = "hands"
source = "clap"
target = [3]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    prepare("custom", published.write("custom", tmp_path), tmp_path / "root", prepared_as="mine")
    return tmp_path / "root"


def task(root: Path, text: str, name: str = "map.toml") -> Task:
    (root / name).write_text(text, encoding="utf-8")
    return find_task("transfer", "utd-mhad", "mine", {"class_map": str(root / name)}, root)


def test_classes_are_named_or_numbered_one_or_several(root: Path) -> None:
    shared = task(root, TWO).shared_classes
    assert [(each.name, each.labels) for each in shared] == [
        ("greeting", {"mine": (0, 4), "utd-mhad": (2,)}),
        ("hands", {"mine": (3,), "utd-mhad": (3,)}),
    ]


def test_the_content_of_the_file_decides_and_its_place_does_not(root: Path) -> None:
    one, same, other = (
        task(root, TWO),
        task(root, TWO, "copy.toml"),
        task(root, TWO.replace(", 4", ", 1"), "other.toml"),
    )
    assert one.hash == same.hash != other.hash
    assert one.hash != find_task("transfer", "utd-mhad", "mine", {}, root).hash
    assert load_task(one.identity, root).hash == one.hash


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"clap"', '"clapping"', "unknown class of mine 'clapping'. Did you mean clap"),
        ("[3]", "[99]", "unknown class of utd-mhad '99'"),
        ('"clap"', '"wave"', "a source label is in two shared classes"),
        ("[3]", "[-1]", "shared.1.target.0"),
        ("[3]", "[]", "shared.1.target"),
        ("target = [3]", "", "shared.1.target: Field required"),
        ("[[shared]]", "[[classes]]", "shared"),
        (TWO, TWO.partition("\n\n")[0], "shared: "),
        (TWO, "]", "not a readable class map"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(root: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        task(root, TWO.replace(old, new))
    assert message in str(caught.value)
    assert str(root / "map.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_whose_name_a_task_cannot_hold_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="a task's name cannot hold ,; rename the class map"):
        task(root, TWO, "a,b.toml")
    with pytest.raises(UserError, match="unknown parameter 'class_map'"):
        load_task("supervised/mine", root, class_map="map.toml")
