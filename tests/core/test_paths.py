"""Options come before variables, variables before the config file, and that before the default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in (paths.DATA_ROOT_VARIABLE, paths.RESULTS_VARIABLE, paths.SOURCES_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def test_each_place_gives_way_to_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.data_root().name == "mmcl-bench"
    assert paths.sources_folder() is None
    paths.CONFIG.write_text('data_root = "from-file"\nsources = "raw"\n')
    assert paths.data_root() == Path("from-file")
    assert paths.sources_folder() == Path("raw")
    monkeypatch.setenv(paths.DATA_ROOT_VARIABLE, "from-variable")
    assert paths.data_root() == Path("from-variable")
    assert paths.data_root(Path("from-option")) == Path("from-option")
    assert paths.results_root() == Path("results")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_tilde_is_the_users_home_wherever_a_place_is_named(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    paths.CONFIG.write_bytes('data_root = "~/données"\nsources = "~"\n'.encode(encoding))
    assert paths.data_root() == tmp_path / "données"
    assert paths.sources_folder() == tmp_path
    for variable in (paths.DATA_ROOT_VARIABLE, paths.RESULTS_VARIABLE, paths.SOURCES_VARIABLE):
        monkeypatch.setenv(variable, "~/from variable")
    assert paths.data_root() == paths.results_root() == paths.sources_folder() == tmp_path / "from variable"
    assert paths.data_root(Path("~/x")) == paths.results_root(Path("~/x")) == tmp_path / "x"


@pytest.mark.parametrize("path", ["./~", "a/~", "~nobody-is-called-so/x", "x~"])
def test_a_tilde_that_is_no_home_is_a_name(path: str) -> None:
    assert paths.at_home(path) == path


@pytest.mark.parametrize(
    ("text", "message"),
    [("data-root = 'x'", "Did you mean data_root"), ("results = 3", "a path in quotes"), ("results", "not a readable")],
)
def test_a_wrong_config_file_is_one_line(text: str, message: str) -> None:
    paths.CONFIG.write_text(text)
    with pytest.raises(UserError) as caught:
        paths.results_root()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["tasks", "protocols"])
def test_cards_and_facts_are_found(kind: str) -> None:
    assert any(paths.packaged(kind).iterdir())


def test_the_wheel_brings_every_file_that_is_looked_for_in_the_package() -> None:
    root = paths.PACKAGE.parent
    brought = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    sources = root.glob("mmcl_bench/**/*.py")
    kinds = {kind for source in sources for kind in re.findall(r'packaged\("(\w+)"\)', source.read_text())}
    assert kinds == {"tasks", "protocols", "results"}
    targets = brought["force-include"].values()
    assert {target.removeprefix("mmcl_bench/data/").partition("/")[0] for target in targets} == kinds
