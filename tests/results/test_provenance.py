"""A result names the commit of its code, and whether the code was changed since."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mmcl_bench.results import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed checkout that the package seems to run from."""
    for name in ("mmcl_bench/code.py", "tasks/card.toml", "reports/index.html"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("committed")
    me = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    for arguments in (["init", "-q"], ["add", "."], [*me, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "mmcl_bench")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "dirty"),
    [("mmcl_bench/code.py", True), ("tasks/new.toml", True), ("reports/index.html", False), ("notes.txt", False)],
)
def test_a_checkout_is_changed_where_its_sources_are(checkout: Path, name: str, dirty: bool) -> None:
    assert provenance.start().dirty is False
    (checkout / name).write_text("changed")
    start = provenance.start()
    assert start.dirty is dirty
    assert start.commit is not None


def test_an_installed_package_has_no_commit(checkout: Path) -> None:
    (checkout / ".git").rename(checkout / "git")
    assert (provenance.start().commit, provenance.start().dirty) == (None, None)
