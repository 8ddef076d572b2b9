from __future__ import annotations

import json

import pandas as pd
import pytest

from mmcl_bench.core.errors import UserError
from mmcl_bench.report.table_files import MANIFEST, TableFolder, to_latex, to_markdown

HOSTILE = r"a|b <script> \input{x} & 100 % $y$ _z_ [l](javascript:1)" + "\n# head"


def test_a_table_is_written_in_three_forms(tmp_path):
    folder = TableFolder(tmp_path)
    names = folder.add("board", pd.DataFrame({"Method": ["a"], "Top-1": ["50.0 [40.0, 60.0]"]}), title="LiveTable")
    folder.close()
    assert names == ["board.csv", "board.md", "board.tex"]
    assert (tmp_path / "board.csv").read_text() == 'Method,Top-1\na,"50.0 [40.0, 60.0]"\n'
    assert "| a | 50.0 " in (tmp_path / "board.md").read_text()
    assert r"\caption{LiveTable}" in (tmp_path / "board.tex").read_text()


def test_numbers_take_the_place_of_texts_in_the_csv(tmp_path):
    folder = TableFolder(tmp_path)
    folder.add("t", pd.DataFrame({"x": ["12.3 %"]}), pd.DataFrame({"x": [0.12345678]}))
    folder.close()
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


BOARD = pd.DataFrame(
    {
        "Task": ["x", "x", "x", "y"],
        "Method": ["a_1", "b", "c", "a_1"],
        "Preset": ["quick"] * 4,
        "x: Top-1": ["50.0 [40.0, 60.0]", "70.5 [60.0, 80.0]", "–", "10.0 [0.0, 20.0]"],
        "Fit": ["1.0 s", "2.0 s", "3.0 s", "4.0 s"],
    }
)


def test_a_latex_table_marks_the_best_and_the_second_within_each_task():
    text = to_latex(BOARD[["Task", "Method", "x: Top-1"]], "A 5 % board", "tab:b", ["x: Top-1"], BOARD[["Task"]])
    assert text.splitlines() == [
        *(
            "% needs booktabs",
            r"\begin{table}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            r"\caption{A 5 \% board}\label{tab:b}",
        ),
        *(r"\begin{tabular}{lr}", r"\toprule", r" & \multicolumn{1}{c}{x} \\", r"\cmidrule(lr){2-2}"),
        *(r"Method & Top-1 \\", r"\midrule", r"\multicolumn{2}{l}{\emph{x}} \\"),
        r"a\_1 & \underline{50.0} {\scriptsize [40.0, 60.0]} \\",
        r"b & \textbf{70.5} {\scriptsize [60.0, 80.0]} \\",
        r"c & -- \\",
        *(r"\midrule", r"\multicolumn{2}{l}{\emph{y}} \\"),
        r"a\_1 & \textbf{10.0} {\scriptsize [0.0, 20.0]} \\",
        *(r"\bottomrule", r"\end{tabular}", r"\end{table}"),
    ]


def test_chance_is_neither_best_nor_second_in_latex():
    board = pd.DataFrame({"Method": ["devise", "chance", "eszsl"], "H": ["30.0", "50.0", "20.0"]})
    texts = [to_latex(board, figures=["H"], unmarked=[False, True, False]), to_latex(board, figures=["H"])]
    marked, all_marked = (text.partition("\\midrule\n")[2].splitlines()[:3] for text in texts)
    assert marked == [r"devise & \textbf{30.0} \\", r"chance & 50.0 \\", r"eszsl & \underline{20.0} \\"]
    assert all_marked[1] == r"chance & \textbf{50.0} \\"


def test_heads_of_several_tasks_span_their_metrics():
    table = pd.DataFrame([["a", "1.0", "2.0", "3.0"]], columns=["Method", "x & y: S", "x & y: U", "z: S"])
    lines = to_latex(table, figures=list(table.columns[1:])).splitlines()
    assert lines[5:8] == [
        r" & \multicolumn{2}{c}{x \& y} & \multicolumn{1}{c}{z} \\",
        r"\cmidrule(lr){2-3}\cmidrule(lr){4-4}",
        r"Method & S & U & S \\",
    ]


def test_long_names_of_tasks_take_several_lines_in_latex():
    name = "hdm05-and-msr-action3d-and-nw-ucla-and-utd-mhad-to-utkinect@3[classes=texts]"
    above = to_latex(pd.DataFrame([["a", "1.0"]], columns=["Method", f"{name}: Top-1"]), figures=[f"{name}: Top-1"])
    lines = (
        r"hdm05-and-msr- \\ {}action3d-and- \\ {}nw-ucla-and- \\ {}utd-mhad-to- \\ {}utkinect@3 \\ {}[classes=texts]"
    )
    assert f"\\multicolumn{{1}}{{c}}{{\\scriptsize\\shortstack{{{lines}}}}}" in above
    board = pd.DataFrame({"Task": [name], "Method": ["a"], "Top-1": ["1.0"]})
    across = to_latex(board, figures=["Top-1"], within=board[["Task"]]).splitlines()
    assert across[7:9] == [
        r"\multicolumn{2}{l}{\emph{hdm05-and-msr-action3d-and-nw-ucla-and-utd-mhad-to-}} \\",
        r"\multicolumn{2}{l}{\emph{utkinect@3[classes=texts]}} \\",
    ]


def test_a_latex_caption_tells_of_intervals_only_where_they_have_room():
    table = pd.DataFrame({head: ["1.0 [0.5, 1.5]"] for head in "abcd"})
    narrow, wide = (
        to_latex(table[list(heads)], "x with 95% intervals", figures=list(heads)) for heads in ("abc", "abcd")
    )
    assert (r"\caption{x with 95\% intervals}" in narrow, "[0.5" in narrow) == (True, True)
    assert (r"\caption{x}" in wide, "[0.5" in wide) == (True, False)


def test_a_latex_table_of_one_task_names_it(tmp_path):
    folder = TableFolder(tmp_path)
    folder.add(
        "board", BOARD[:3], figures=["x: Top-1"], within=["Task"], paper=["Task", "Method", "Preset", "x: Top-1"]
    )
    folder.close()
    assert r"\multicolumn{2}{l}{\emph{x}} \\" in (tmp_path / "board.tex").read_text()


def test_a_long_latex_table_may_break_over_pages():
    text = to_latex(pd.concat([BOARD] * 20, ignore_index=True), "Board")
    assert text.startswith("% needs booktabs and longtable\n\\begin{longtable}{lllll}\n \\caption{Board} \\\\")
    assert text.count("a\\_1") == 40
    assert "\\endhead" in text


@pytest.mark.parametrize(
    ("columns", "heads"),
    [([], "Method & Fit"), (["top-1", "METHOD"], "Top-1 & Method"), (["Preset"], "Preset")],
)
def test_the_columns_of_latex_tables_can_be_chosen(tmp_path, columns, heads):
    folder = TableFolder(tmp_path, columns)
    folder.add("board", BOARD, paper=["Method", "Preset", "Fit"])
    folder.add("other", pd.DataFrame({"Chosen by": ["entropy"]}))
    folder.close()
    assert f"\n{heads} \\\\\n" in (tmp_path / "board.tex").read_text()
    assert "Chosen by" in (tmp_path / "other.tex").read_text(), "a table without them is whole"
    assert len(pd.read_csv(tmp_path / "board.csv").columns) == 5


def test_a_column_that_no_table_has_is_a_mistake_and_nothing_is_written(tmp_path):
    folder = TableFolder(tmp_path / "tables", ["Metod"])
    folder.add("board", BOARD)
    with pytest.raises(UserError, match="--columns Metod: no table has it; there are Fit, Method, Preset, Task, Top-1"):
        folder.close()
    assert not (tmp_path / "tables").exists()


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
