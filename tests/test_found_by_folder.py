"""One new file is a method, a data set, an encoder or a backbone: nothing else is edited."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mmcl_bench
from mmcl_bench.core.registry import Registry
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.encoders import ENCODERS
from mmcl_bench.methods import METHODS
from mmcl_bench.nn import BACKBONES
from mmcl_bench.protocols import PROTOCOLS

PACKAGE = Path(mmcl_bench.__file__).parent
ROOT = PACKAGE.parent

METHOD = "from mmcl_bench.methods import METHODS as m; m.get(name)(**m.get(name).presets['quick'])"
DATA_SET = "from mmcl_bench.datasets.readers import READERS as r; r.get(name)()"
ENCODER = "from mmcl_bench.encoders import text_encoder; assert text_encoder(name).encode(['drink']).any()"
BACKBONE = (
    "from mmcl_bench.nn import BACKBONES as b; from mmcl_bench.skeleton import layouts as l; b.get(name)(l.HDM05, 5)"
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own, for files to be put into."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(PACKAGE, root / "mmcl_bench", ignore=shutil.ignore_patterns("__pycache__"))
    for facts in ("tasks", "protocols"):
        (root / facts).symlink_to(ROOT / facts)
    return root


def run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "XDG_CACHE_HOME": str(copy / "cache")}
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("verb", "page", "file", "use"),
    [
        ("methods", "docs/adding/method.md", "methods/ours/dropped.py", METHOD),
        ("datasets", "docs/readers.md", "datasets/readers/dropped.py", DATA_SET),
        ("encoders", "docs/adding/encoder.md", "encoders/dropped.py", ENCODER),
        ("backbones", "docs/adding/backbone.md", "nn/dropped.py", BACKBONE),
    ],
)
def test_a_file_that_is_put_into_its_folder_is_listed_and_used(
    copy: Path, verb: str, page: str, file: str, use: str
) -> None:
    example = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)[0]
    (name,) = re.findall(r'^    name\b.* = "(.+)"$', example, flags=re.MULTILINE)
    dropped = copy / "mmcl_bench" / file
    dropped.parent.mkdir(exist_ok=True)
    dropped.write_text(example)
    show = f"from mmcl_bench.cli import app; app(['list', {verb!r}, name, '--json'], standalone_mode=False)"
    ended = run(copy, "-c", f"name = {name!r}; {show}; {use}")
    assert ended.returncode == 0, ended.stderr
    assert name in next(iter(json.loads(ended.stdout))).values()


def test_a_broken_file_is_named_in_one_line_and_leaves_the_others_alone(copy: Path) -> None:
    broken = copy / "mmcl_bench" / "methods" / "broken.py"
    broken.write_text('class Broken:\n    name = "broken"\n    summary = no_such_thing\n')
    ended = run(copy, "-m", "mmcl_bench", "list", "methods", "broken")
    assert ended.returncode == 2
    assert re.fullmatch(r"mmcl-bench: .*mmcl_bench/methods/broken\.py cannot be loaded \(NameError: .*\n", ended.stderr)
    assert run(copy, "-m", "mmcl_bench", "list", "methods", "chance").returncode == 0


@pytest.mark.parametrize("registry", [METHODS, READERS, ENCODERS, BACKBONES, PROTOCOLS], ids=lambda it: it.kind)
def test_everything_is_found_under_the_name_that_its_class_says(registry: Registry[Any]) -> None:
    for name in registry.names():
        assert vars(registry.get(name))["name"] == name
