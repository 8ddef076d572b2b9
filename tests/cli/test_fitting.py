"""Tables on terminals of several widths, and as plain columns."""

from __future__ import annotations

import re

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmcl_bench.cli.fitting import fitted, plain

TASKS = ("zero-shot/kinetics-skeleton@2[split=320/80]", "transfer/nw-ucla-to-utd-mhad@3")
HEADS = ("task", "method", "seeds", "ZSL top-1", "why")
WHY = "its result was made with other weights of the text encoder"
HASH = "7572a5300e94a6e75998fee0b50c763a14a6b97ae078600bc3faa782d729809f"


def table(*heads: str, title: str | None = None, rows: int = 2) -> Table:
    made = Table(title=title, caption=Text("percent, with 95% intervals over test samples"))
    for head in heads:
        made.add_column(head, justify="right" if head == "seeds" else "left")
    cells = {"method": "devise-joints", "seeds": "3", "ZSL top-1": "63.2 [60.1, 66.0]", "why": WHY, "hash": HASH}
    for task in TASKS[:rows]:
        made.add_row(*(Text(cells.get(head, task)) for head in heads))
    return made


def lines(made: Table, width: int, *spare: str) -> list[str]:
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as written:
        console.print(fitted(made, width, spare))
    return [line.rstrip() for line in written.get().splitlines()]


@pytest.mark.parametrize("width", [30, 50, 80, 100, 120, 200])
def test_no_word_is_cut_and_no_line_is_too_long(width: int) -> None:
    shown = lines(table(*HEADS), width)
    assert all(len(line) <= width for line in shown)
    words = [word for text in (*HEADS[1:], WHY) for word in text.split()]
    assert all(any(re.search(rf"(^|\s){re.escape(word)}(\s|$)", line) for line in shown) for word in words)
    assert any("[60.1, 66.0]" in line for line in shown), "an interval stays whole"


def test_long_names_break_at_hyphens_slashes_and_brackets() -> None:
    first, *_ = [line.split("  ")[0] for line in lines(table("task", "why"), 40)[2:]]
    assert first.rstrip() in ("zero-shot/", "zero-shot/kinetics-", "zero-shot/kinetics-skeleton@2")


def test_what_fits_is_one_line_a_row() -> None:
    assert len(lines(table(*HEADS), 200)) == 2 + 2 + 1


def test_spare_columns_are_left_out_first_where_not_all_fit() -> None:
    assert len(lines(table(*HEADS), 100, "why")) == 2 + 2 + 1
    assert not any("weights" in line for line in lines(table(*HEADS), 100, "why"))
    assert any("weights" in line for line in lines(table(*HEADS), 200, "why"))


def test_a_table_that_cannot_fit_becomes_a_list() -> None:
    first, *_ = lines(table(*HEADS, rows=1), 44)
    assert first == TASKS[0]
    shown = "\n".join(lines(table(*HEADS, rows=1), 44))
    assert "  method devise-joints  seeds 3" in shown
    assert "ZSL top-1 63.2 [60.1, 66.0]" in shown


def test_a_hash_may_be_cut_anywhere() -> None:
    shown = lines(table("task", "hash"), 60)
    assert all(len(line) <= 60 for line in shown)
    assert "".join(line.split()[-1] for line in shown[2:-1] if line.strip()) == 2 * HASH


def test_cells_of_several_lines_and_styles_are_kept() -> None:
    made = Table(show_header=False)
    made.add_column()
    made.add_column()
    made.add_row("error", Text.assemble("duplicates\n", ("a05_s02_t03: twice", "dim")))
    assert lines(made, 80) == ["error  duplicates", "       a05_s02_t03: twice"]


def test_plain_columns_are_not_wrapped_and_have_no_lines() -> None:
    assert list(plain(table("task", "seeds", "why", title="jobs"))) == [
        "jobs",
        f"task{' ' * 39}  seeds  why",
        f"{TASKS[0]}      3  {WHY}",
        f"{TASKS[1]}{' ' * 13}      3  {WHY}",
        "percent, with 95% intervals over test samples",
    ]


def test_a_table_without_rows_has_its_heads() -> None:
    assert next(plain(table("task", "seeds", rows=0))) == "task  seeds"
    assert lines(table("task", "seeds", rows=0), 80)[0] == "task  seeds"


def test_a_column_of_no_wrap_keeps_its_names_on_one_line() -> None:
    made = table("task", "why")
    made.columns[0].no_wrap = True
    shown = "\n".join(lines(made, 80))
    assert all(task in shown for task in TASKS)
    assert WHY not in shown, "the other column is wrapped in its place"
