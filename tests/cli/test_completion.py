"""Shells complete verbs and the names of tasks, methods, data sets and suites, without loading what is slow to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl_bench.cli import completion
from mmcl_bench.datasets.store import CARD
from mmcl_bench.methods import METHODS
from mmcl_bench.protocols.catalogue import cards
from mmcl_bench.running.suites import suite_names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mmcl-bench pl", ["plan"]),
        ("mmcl-bench run zero-shot/nw", ["zero-shot/nw-ucla"]),
        ("mmcl-bench run zero-shot --method devise,mmc", ["devise,mmcl", "devise,mmcl-adapted"]),
        ("mmcl-bench fuse supervised --dataset nw-", ["nw-ucla"]),
        ("mmcl-bench data show nw-", ["nw-ucla"]),
        ("mmcl-bench list methods devise-", ["devise-joints"]),
    ],
)
def test_a_shell_gets_the_words_that_go_on(line: str, expected: list[str]) -> None:
    code = (
        "import sys\nfrom mmcl_bench.cli import main\nsys.argv = ['mmcl-bench']\n"
        "try: main()\nfinally: print('loaded', {'torch', 'pandas', 'scipy', 'sklearn'} & {*sys.modules})"
    )
    asked = {"_MMCL_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}, check=False
    )
    *words, loaded = done.stdout.splitlines()
    assert (words, loaded) == (expected, "loaded set()"), done.stderr


def test_all_names_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {*completion.tasks("")} == {"supervised", "zero-shot", "transfer", *cards()}
    assert completion.methods("") == ["all", *METHODS.names()]
    assert completion.suites("") == suite_names()
    (tmp_path / "my-own").mkdir()
    (tmp_path / "my-own" / CARD).touch()
    monkeypatch.setenv("MMCL_BENCH_DATA", str(tmp_path))
    assert completion.datasets("nw-ucla,my") == ["nw-ucla,my-own"]


def test_the_help_names_the_option_that_installs_it() -> None:
    done = subprocess.run([sys.executable, "-m", "mmcl_bench", "--help"], capture_output=True, text=True, check=True)
    assert "--install-completion" in done.stdout
