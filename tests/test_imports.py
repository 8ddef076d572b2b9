"""The rules of who may import whom hold, and the checker finds one that is broken on purpose."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and its rules, to be broken."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "mmcl_bench", tmp_path / "mmcl_bench", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _check(root: Path) -> subprocess.CompletedProcess[str]:
    checker = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([checker, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)


def test_the_rules_hold() -> None:
    done = _check(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imported", "rule"),
    [
        ("skeleton/clips", "methods.base", "imports point down"),
        ("report/tables", "protocols.problem", "imports point down"),
        ("methods/chance", "protocols.base", "methods do not reach what holds test labels"),
        ("methods/zero_shot/devise", "results.store", "methods do not reach what holds test labels"),
    ],
)
def test_a_broken_rule_is_found(copy: Path, module: str, imported: str, rule: str) -> None:
    path = copy / "mmcl_bench" / f"{module}.py"
    path.write_text(f"{path.read_text()}\nimport mmcl_bench.{imported}\n")
    done = _check(copy)
    assert done.returncode == 1
    assert f"{rule}" in done.stdout.partition("Broken contracts")[2]


def test_a_new_room_needs_its_place_among_the_layers(copy: Path) -> None:
    (copy / "mmcl_bench" / "utils").mkdir()
    (copy / "mmcl_bench" / "utils" / "__init__.py").touch()
    done = _check(copy)
    assert done.returncode == 1
    assert "utils" in done.stdout


def test_nothing_else_is_in_the_package_itself() -> None:
    assert {path.name for path in (ROOT / "mmcl_bench").glob("*.py")} == {"__init__.py", "__main__.py"}
