"""Measured figures in the README and the docs are those of the tables in results/.

A figure, or a table of them, says in an HTML comment where it comes from::

    98.2<!-- results/leaderboard.csv top1 dataset=hdm05 method=logistic -->

    <!-- results/leaderboard.csv top1 | NW-UCLA to UTD-MHAD: transfer/nw-ucla-to-utd-mhad@3 | ... -->

    | method | NW-UCLA to UTD-MHAD | mean |

A figure is in percent, of the row of the csv that has these values. One with bounds, such as ``9.8 [4.5, 15.0]``, names
three columns, such as ``difference/low/high``. A value may be a pattern, or several with ``|`` between them, and stands
in quotes if it has a space or a ``|``; ``!`` before it leaves rows out. Of several rows a figure is the ``mean:top1``,
or their ``median:``, ``min:`` or ``max:``; ``max:half:zsl_top1`` is of half the widths of intervals. With
``less=source-only`` it is the mean over tasks of the difference to the rows of that method, and its bounds are those of
Student's t interval over tasks.

A table names the task of each column by its head. What stands in backticks names a row: the method, then the column
``settings`` of the csv, else the fewest that the method has there, and ``preset=strong`` where it is not quick. Columns
``mean`` and ``oracle minus honest`` are means over the tasks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from itertools import takewhile
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import t

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "results/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE = r"<!-- (?P<file>results/[\w-]+\.csv) (?P<what>[^\n]*?) -->"
BOUNDS = r" \[(-?\d+\.\d+), (-?\d+\.\d+)\]"
INLINE = re.compile(rf"(?P<figure>[+-]?\d+(?:\.\d+)?(?:{BOUNDS})?)(?: ?%)?{SOURCE}")
OF_TABLE = 0.005
"""By how much a figure of a table, which has four digits, may differ from what was measured."""


Read = Callable[[str], pd.DataFrame]


@pytest.fixture(scope="module")
def read() -> Read:
    """Reads each table once; nothing changes what it gives."""
    return cache(lambda file: pd.read_csv(ROOT / file, dtype=str, keep_default_na=False))


def rounds_to(expected: list[float | None], cell: str) -> bool:
    """Whether a text such as ``62.1 / 32.1``, or with bounds ``62.1 [50.0, 70.2] / 32.1``, shows these figures; an
    empty one shows that there are none."""
    figures: list[str | None] = []
    for part in cell.split("/"):
        match = re.fullmatch(rf"([+-]?\d+(?:\.\d+)?)(?:{BOUNDS})?", part.strip())
        if not match and part.strip():
            return False
        figures += [match[1], *([match[2], match[3]] if match[2] else [])] if match else [None]
    return len(figures) == len(expected) and all(
        (value is None and figure is None)
        or (
            value is not None
            and figure is not None
            and abs(float(figure) - value) <= 0.5 * 10.0 ** -len(figure.partition(".")[2]) + OF_TABLE
        )
        for value, figure in zip(expected, figures, strict=True)
    )


Figure = tuple[str, list[float | None], str]
"""What a page shows, what the table has, and where it stands."""


def chosen(rows: pd.DataFrame, wanted: Mapping[str, str]) -> pd.DataFrame:
    """Those rows that have the values, or whose texts have the patterns, of each column."""
    for name, value in wanted.items():
        patterns = value.removeprefix("!").replace("[", "[[]").split("|")
        fits = [any(fnmatchcase(cell, pattern) for pattern in patterns) for cell in rows[name]]
        rows = rows[[fit != value.startswith("!") for fit in fits]]
    return rows


def named(match: re.Match[str], read: Read) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """What the comment beside a figure names: the column, its rows, and the rows that these are compared with, if it
    names such."""
    column, *told = shlex.split(match["what"])
    wanted = dict(each.split("=", 1) for each in told)
    less = wanted.pop("less", None)
    rows = chosen(read(match["file"]), wanted)
    assert len(rows) == 1 or (len(rows) and (less or ":" in column)), f"{match[0]} names {len(rows)} rows"
    base = chosen(read(match["file"]), {**wanted, "method": less}) if less else rows[:0]
    assert len(base) or not less, f"{match[0]} names no row of {less}"
    return column, rows, base


def gain(rows: pd.DataFrame, base: pd.DataFrame, column: str, with_bounds: bool) -> list[float | None]:
    """The mean difference over the tasks that both have, and its t interval, in percent."""
    assert not rows["task"].duplicated().any(), "several rows of one task"
    assert not base["task"].duplicated().any(), "several rows of one task, with which these are compared"
    of_rows, of_base = (pd.to_numeric(each.set_index("task")[column]) for each in (rows, base))
    differences = 100 * (of_rows - of_base).dropna()
    bounds = t.interval(0.95, len(differences) - 1, differences.mean(), differences.sem()) if with_bounds else ()
    return [differences.mean(), *bounds]


def single_figures(text: str, read: Read) -> Iterator[Figure]:
    for match in INLINE.finditer(text):
        column, rows, base = named(match, read)
        *kind, columns = column.split(":")
        if len(base):
            expected = gain(rows, base, columns, with_bounds="[" in match["figure"])
        elif kind[-1:] == ["half"]:
            low, high = (pd.to_numeric(rows[f"{columns}_{bound}"]) for bound in ("low", "high"))
            expected = [summary(100 * (high - low) / 2, kind[0])]
        else:
            expected = [summary(100 * pd.to_numeric(rows[each]), *kind) for each in columns.split("/")]
        yield match["figure"], expected, match[0]


def summary(values: pd.Series, kind: str = "mean") -> float | None:
    """None where there is no value."""
    found = values.dropna()
    return float(found.agg(kind)) if len(found) else None


def tables(text: str) -> Iterator[tuple[str, str, list[list[str]]]]:
    """File, what it shows, and cells of each table below a comment; the first row is its head."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if match := re.fullmatch(SOURCE, line):
            below = takewhile(lambda text: text.startswith("|"), lines[at + 2 :])
            head, _, *rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in below]
            yield match["file"], match["what"], [head, *rows]


def figures_of_table(read: Read, file: str, what: str, cells: list[list[str]]) -> Iterator[Figure]:
    columns, *told = what.split(" | ")
    task_of = dict(part.split(": ", 1) for part in told)
    (head, *rows), all_rows = cells, read(file)
    assert task_of.keys() <= set(head)
    for row in rows:
        method, *told = re.findall("`(.*?)`", row[head.index("method")])
        (preset,) = [text.removeprefix("preset=") for text in told if text.startswith("preset=")] or ["quick"]
        settings = [text for text in told if not text.startswith("preset=")]
        of_method = all_rows["method"].eq(method) & all_rows["preset"].eq(preset)
        own = all_rows[of_method & all_rows["task"].isin(task_of.values())]
        assert len(own), f"{file} has no row of {method}"
        own = own[own["settings"].eq(settings[0] if settings else min(own["settings"], key=len))]
        for name, cell in zip(head, row, strict=True):
            where, of_cell = f"{method} {settings} {name}", own[own["task"].eq(task_of.get(name))]
            if name in task_of and not len(of_cell):
                assert not cell, f"{file} has no figure of {where}"
            elif name in task_of or name == "mean":
                shown = own if name == "mean" else of_cell
                yield cell, [summary(100 * pd.to_numeric(shown[column])) for column in columns.split("/")], where
            elif name == "oracle minus honest":
                yield cell, [summary(100 * pd.to_numeric(own["oracle_minus_honest"]))], where


of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@of_each_page
def test_figures_of_a_page_are_those_of_the_tables(page: Path, read: Read) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"<!--\s*results/", text)) == len(re.findall(SOURCE, text)), "a comment is broken by a line"
    of_tables = (figure for table in tables(text) for figure in figures_of_table(read, *table))
    found = [*single_figures(text, read), *of_tables]
    wrong = [f"{where}: {cell!r}, the table has {value}" for cell, value, where in found if not rounds_to(value, cell)]
    assert not wrong, "\n".join(wrong)


@of_each_page
def test_bold_differences_of_a_table_are_those_that_stay_clear_when_corrected(page: Path, read: Read) -> None:
    text = page.read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)*^\|.*\*\*.*results/differences.*\n(?:^\|.*\n)*", text, re.MULTILINE):
        for match in INLINE.finditer(table):
            bold = table[: match.start()].endswith("**")
            _, rows, _ = named(match, read)
            assert bold == (float(rows["p_holm"].item()) <= 0.05), match[0]


def test_a_figure_that_is_not_the_table_s_is_found(read: Read) -> None:
    source = "<!-- results/leaderboard.csv top1 dataset=hdm05 method=logistic -->"
    (right,) = read("results/leaderboard.csv").query("dataset == 'hdm05' and method == 'logistic'")["top1"]
    ((cell, value, _),) = single_figures(f"{100 * float(right):.1f} %{source}", read)
    assert rounds_to(value, cell)
    ((cell, value, _),) = single_figures(f"{100 * float(right) + 0.2:.1f}{source}", read)
    assert not rounds_to(value, cell)
    assert rounds_to([62.1, 50.0, 70.2, None], "62.1 [50.0, 70.2] /")
    assert rounds_to([0.2, -2.2, 2.5], "+0.2 [-2.2, 2.5]")
    for expected, shown in (
        ([50.0, None], "50.0 / 1.0"),
        ([None, 32.1], "32.1 / "),
        ([50.0], ""),
        ([None], "none"),
        ([1.3], "\u22121.3"),
        ([62.1], "62.1 [wrong]"),
        ([62.1, 50.0, 70.2], "62.1 [50.0, 70.9]"),
        ([0.2, -2.2, 2.5], "0.2 [2.2, 2.5]"),
    ):
        assert not rounds_to(expected, shown)
