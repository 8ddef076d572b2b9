from __future__ import annotations

import json

import pandas as pd
import pytest

from mmcl_bench.report.table_files import MANIFEST, TableFolder, to_latex, to_markdown

HOSTILE = r"a|b <script> \input{x} & 100 % $y$ _z_ [l](javascript:1)" + "\n# head"


def test_a_table_is_written_in_three_forms(tmp_path):
    folder = TableFolder(tmp_path)
    names = folder.add("board", pd.DataFrame({"Method": ["a"], "Top-1": ["50.0 [40.0, 60.0]"]}), title="LiveTable")
    assert names == ["board.csv", "board.md", "board.tex"]
    assert (tmp_path / "board.csv").read_text() == 'Method,Top-1\na,"50.0 [40.0, 60.0]"\n'
    assert "| a | 50.0 " in (tmp_path / "board.md").read_text()
    assert r"\caption{LiveTable}" in (tmp_path / "board.tex").read_text()


def test_numbers_take_the_place_of_texts_in_the_csv(tmp_path):
    TableFolder(tmp_path).add("t", pd.DataFrame({"x": ["12.3 %"]}), pd.DataFrame({"x": [0.12345678]}))
    assert (tmp_path / "t.csv").read_text() == "x\n0.1235\n"


def test_markdown_stays_a_table_of_one_line_a_row():
    text = to_markdown(pd.DataFrame({"Method": [HOSTILE], "x": ["1"]}))
    head, rule, row = text.splitlines()
    assert head == "| Method | x |"
    assert rule == "| --- | --- |"
    assert r"a\|b \<script\>" in row
    assert r"\[l\](javascript:1) \# head" in row


def test_latex_reads_nothing_as_a_command():
    text = to_latex(pd.DataFrame({HOSTILE: [HOSTILE]}), HOSTILE)
    assert r"\input" not in text
    assert text.count(r"\textbackslash ") >= 3
    assert r"\& 100 \% \$y\$ \_z\_" in text
    assert r"\toprule" in text


def test_stale_tables_go_and_those_of_others_stay(tmp_path):
    for name in ("stale.csv", "mine.csv"):
        (tmp_path / name).write_text("x")
    outside = tmp_path.parent / "outside.csv"
    outside.write_text("x")
    (tmp_path / MANIFEST).write_text(json.dumps(["stale.csv", "../outside.csv", 3]))
    folder = TableFolder(tmp_path)
    folder.add("new", pd.DataFrame({"x": ["1"]}))
    folder.close()
    assert not (tmp_path / "stale.csv").exists()
    assert (tmp_path / "mine.csv").exists()
    assert outside.exists()


@pytest.mark.parametrize("content", ["{", "{}", "3"])
def test_a_damaged_manifest_loses_nothing(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    folder = TableFolder(tmp_path)
    folder.add("new", pd.DataFrame({"x": ["1"]}))
    folder.close()
    assert (tmp_path / "new.md").exists()
