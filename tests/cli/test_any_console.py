"""Whatever is typed and printed: paths at home, and consoles that lack letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import typer
from typing_in import type_in

from mmcl_bench.cli import app
from mmcl_bench.cli.console import print_on_any_console
from mmcl_bench.datasets.classes import ClassText
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import Side
from mmcl_bench.skeleton.layouts import get_layout
from prepared import write_dataset
from toys import tiny_card, toy_clip

ROOT: Any = typer.main.get_command(app)
NAME = "手を振る 😀 naïve \udcff"
"""With a byte that is no UTF-8, as names of files may have."""


def path_options() -> list[tuple[list[str], str, str]]:
    """Words of a verb, option, and the name of its value, for every option that takes a path."""
    found = []
    for name, command in ROOT.commands.items():
        nested = getattr(command, "commands", None) or {"": command}
        for sub, each in nested.items():
            words = [word for word in (name, sub) if word]
            found += [
                (words, parameter.opts[0], parameter.name)
                for parameter in each.params
                if parameter.param_type_name == "option"
                and "Path" in str(each.callback.__annotations__[parameter.name])
            ]
    return found


def test_options_with_paths_are_found() -> None:
    assert len(path_options()) > 25


@pytest.mark.parametrize(("words", "option", "name"), path_options(), ids=lambda each: str(each))
def test_a_tilde_is_home_in_every_path_that_is_typed(
    words: list[str], option: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed in ([f"{option}=~/x y"], [option, "~/x y"]):
        context = ROOT.make_context("mmcl-bench", [*words, *typed])
        command = ROOT
        rest = [*context._protected_args, *context.args]
        for word in words:
            assert rest.pop(0) == word
            command = command.get_command(context, word)
        given = command.make_context("verb", rest, resilient_parsing=True).params[name]
        assert given in (tmp_path / "x y", [tmp_path / "x y"])


def test_words_that_are_no_paths_at_home_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in ("./~", "~nobody-is-called-so", "a~b", "text=~"):
        assert f"{word!r}" in type_in(["predict", word, "x"], monkeypatch, capsys).err


def test_a_tilde_is_home_in_words_that_may_be_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in (["plan", "~/mine.toml"], ["plan", "--suite", "~/mine.toml"], ["predict", "~/mine.toml", "x"]):
        assert str(tmp_path / "mine.toml") in type_in(words, monkeypatch, capsys).err


# Consoles


def write_tiny(root: Path) -> None:
    classes = ("手を振る", "naïve – café 😀", "हिन्दी")
    joints = len(get_layout("kinect-v1"))
    clips = [toy_clip(1, label, subject, 1, joints) for label, subject in product(range(3), range(1, 5))]
    side = Side(column="subject", train=(1, 3), test=(2, 4), source="“quoted”")
    card = tiny_card(
        reader="custom",
        reader_version=READERS.get("custom").version,
        title="タイトル · title",
        classes=classes,
        class_texts=tuple(ClassText(name=name) for name in classes),
        sides={"x-sub": side},
        default_side="x-sub",
        class_table="custom",
    )
    write_dataset(root / "data" / "tiny", clips, joints, card)


QUICKLY = (
    ["--help"],
    ["run", "--help"],
    ["list", "datasets"],
    ["list", "methods", "--json"],
    ["list", "layouts", NAME],
    ["data", "list"],
    ["data", "list", "--json"],
    ["data", "info", "tiny"],
    ["data", "info", "tiny", "--json"],
    ["data", "audit", "tiny"],
    ["data", "audit", "tiny", "--json"],
    ["predict", "supervised/tiny", NAME],
    ["no such verb", NAME],
)
WITH_A_JOB = (
    ["plan", "supervised/tiny", "--method", "chance"],
    ["run", "supervised/tiny", "--method", "chance,logistic"],
    ["run", "supervised/tiny", "--method", "chance", "--json"],
    ["compare", "chance", "logistic"],
    ["predict", "supervised/tiny", "tiny", "--method", "chance"],
    ["predict", "supervised/tiny", "tiny", "--method", "chance", "--json"],
    ["predict", "supervised/tiny", NAME, "--method", "chance"],
)
TYPED = """
import json, sys
from mmcl_bench.cli import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["mmcl-bench", *words]
    try: main()
    except SystemExit: pass
    print("\\0", flush=True)
"""


@pytest.mark.parametrize(
    ("lines", "encoding", "environment"),
    [
        (QUICKLY, "ascii", {"LC_ALL": "C"}),
        (QUICKLY, "ascii:strict", {"FORCE_COLOR": "1"}),
        (QUICKLY, "cp932:strict", {}),
        (QUICKLY, "cp437", {}),
        (QUICKLY, "latin-1", {}),
        (QUICKLY, "utf-8", {}),
        (WITH_A_JOB, "ascii:strict", {"FORCE_COLOR": "1"}),
    ],
)
def test_all_that_is_printed_survives_the_encoding_of_the_console(
    lines: tuple[list[str], ...], encoding: str, environment: dict[str, str], tmp_path: Path
) -> None:
    write_tiny(tmp_path)
    places = {"MMCL_BENCH_DATA": str(tmp_path / "data"), "MMCL_BENCH_RESULTS": str(tmp_path / "results")}
    done = subprocess.run(
        [sys.executable, "-c", TYPED, json.dumps(lines)],
        capture_output=True,
        cwd=tmp_path,
        check=False,
        env={**os.environ, **places, **environment, "PYTHONIOENCODING": encoding},
    )
    said = done.stderr.decode(encoding.partition(":")[0])
    assert done.returncode == 0, said
    assert "Traceback" not in said, said
    for words, text in zip(lines, done.stdout.decode(encoding.partition(":")[0]).split("\0"), strict=False):
        if "--json" in words:
            assert json.loads(text), words
        elif NAME not in words or words[0] == "list":
            assert text.strip(), words


def test_signs_of_tables_that_a_console_lacks_take_one_letter_each() -> None:
    print_on_any_console()
    assert "a – b · c…".encode("ascii", "mmcl-bench") == b"a - b | c~"
    assert "手".encode("latin-1", "mmcl-bench") == rb"\u624b"
