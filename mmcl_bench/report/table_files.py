"""Every table of the report as CSV, Markdown and LaTeX."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path

import pandas as pd

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_text

MANIFEST = ".mmcl-bench-tables.json"
"""Beside the tables: the names of those that a report wrote, so that a later one removes only its own."""
SUFFIXES = ("csv", "md", "tex")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
_FIGURE = re.compile(r"(?P<value>[+-]?\d+\.\d)(?P<bounds> \[[^\]]*\])?")
_MOST_ON_A_PAGE = 45
"""Up to so many rows a table is one float."""
_MOST_WITH_INTERVALS = 3
"""Up to so many columns of figures have room for their intervals on a page of a paper."""
_INTERVALS = " with 95% intervals"
"""What a caption ends with; not that of a LaTeX table without room for them."""
_MOST_ACROSS, _MOST_ABOVE = 60, 14
"""Letters of a line of a task's name: across a table, and above a column."""


@dataclass(frozen=True)
class _Table:
    stem: str
    title: str
    shown: pd.DataFrame
    numbers: pd.DataFrame | None
    figures: Sequence[str]
    within: Sequence[str]
    apart: Sequence[str]
    paper: Sequence[str]
    unmarked: Sequence[bool]


class TableFolder:
    """Collects tables; :meth:`close` writes them, and removes what a former report left there.

    ``columns``, where there are any, are those that LaTeX tables have, in this order: heads, also without the task that
    stands before them, in upper or lower case. A table that has none of them is whole.
    """

    def __init__(self, folder: Path, columns: Sequence[str] = ()) -> None:
        self.folder = folder
        self.columns = columns
        self._tables: list[_Table] = []

    @property
    def written(self) -> list[Path]:
        return [self.folder / f"{table.stem}.{suffix}" for table in self._tables for suffix in SUFFIXES]

    def add(
        self,
        stem: str,
        shown: pd.DataFrame,
        numbers: pd.DataFrame | None = None,
        title: str = "",
        figures: Sequence[str] = (),
        within: Sequence[str] = (),
        apart: Sequence[str] = (),
        paper: Sequence[str] = (),
        unmarked: Sequence[bool] = (),
    ) -> list[str]:
        """Names of the files that will be there: ``stem.csv``, ``.md`` and ``.tex``.

        ``shown`` holds texts as people read them. ``numbers``, where given, is what the CSV holds instead. In LaTeX the
        best of each column of ``figures`` is bold and the second underlined, among rows that are equal in the columns
        ``within`` and in ``apart``, a text a row that the table does not show, and not ``unmarked``, by row; ``paper``
        are its columns where the user chose none, all by default.
        """
        self._tables.append(_Table(stem, title, shown, numbers, figures, within, apart, paper, unmarked))
        return [f"{stem}.{suffix}" for suffix in SUFFIXES]

    def close(self) -> None:
        """Raises :class:`UserError` for a column that no table has; nothing is written then."""
        heads = {head for table in self._tables for head in table.shown.columns}
        for column in self.columns:
            if not any(_is(head, column) for head in heads):
                known = sorted({head.rpartition(": ")[2] for head in heads})
                raise UserError(f"--columns {column}: no table has it; there are {', '.join(known)}")
        for table in self._tables:
            frame = table.shown if table.numbers is None else table.numbers
            csv = frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")
            within = table.shown[[*table.within]]
            within = within.assign(**{"": list(table.apart)}) if table.apart else within
            latex = to_latex(
                self._chosen(table), table.title, f"tab:{table.stem}", table.figures, within, table.unmarked
            )
            for suffix, text in zip(SUFFIXES, (csv, to_markdown(table.shown, table.title), latex), strict=True):
                write_text(self.folder / f"{table.stem}.{suffix}", text)
        names = {path.name for path in self.written}
        for stale in written_before(self.folder / MANIFEST, SUFFIXES).keys() - names:
            (self.folder / stale).unlink(missing_ok=True)
        if self.folder.is_dir():
            write_text(self.folder / MANIFEST, json.dumps(sorted(names), indent=1) + "\n")

    def _chosen(self, table: _Table) -> pd.DataFrame:
        """The columns that its LaTeX has; by default without those, but the task, that say the same in every row."""
        chosen = [head for column in self.columns for head in table.shown.columns if _is(head, column)]
        if not chosen:
            kept = [*table.figures, *table.within[:1]]
            there = [head for head in table.paper if head in table.shown]
            told = [head for head in there if head in kept or table.shown[head].nunique() > 1]
            chosen = told or list(table.shown.columns)
        return table.shown[list(dict.fromkeys(chosen))]


def _is(head: str, column: str) -> bool:
    return column.casefold() in (head.casefold(), head.rpartition(": ")[2].casefold())


def written_before(manifest: Path, suffixes: Sequence[str]) -> dict[str, str]:
    """The digests by name that a manifest lists, empty where it holds names alone.

    Only files beside it with one of the suffixes, whatever it lists; none where it is missing or damaged.
    """
    try:
        listed = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}
    if isinstance(listed, list):
        listed = dict.fromkeys((name for name in listed if isinstance(name, str)), "")
    endings = tuple(f".{suffix}" for suffix in suffixes)
    found = listed.items() if isinstance(listed, dict) else ()
    return {name: str(digest) for name, digest in found if Path(name).name == name and name.endswith(endings)}


def to_markdown(table: pd.DataFrame, title: str = "") -> str:
    """A table as GitHub reads it; nothing in a cell is read as markup."""
    rows = [table.columns.tolist(), ["---"] * table.shape[1], *table.to_numpy().tolist()]
    cells = [[cell if at == 1 else _markdown_cell(cell) for cell in row] for at, row in enumerate(rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    head = [f"**{_markdown_cell(title)}**", ""] if title else []
    return "\n".join([*head, *lines]) + "\n"


def _markdown_cell(value: object) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def to_latex(
    table: pd.DataFrame,
    title: str = "",
    label: str = "",
    figures: Sequence[str] = (),
    within: pd.DataFrame | None = None,
    unmarked: Sequence[bool] = (),
) -> str:
    r"""A ``table``, or a ``longtable`` where it has many rows, with the rules of booktabs; texts are escaped.

    Of each column of ``figures`` the best is bold and the second underlined, among the rows that are equal in
    ``within``, but for the rows that are ``unmarked``, such as chance. A rule parts the rows where the first column of
    ``within`` changes; where that is a column of the table, its value stands across the table above its rows.
    """
    table = table.map(lambda value: " ".join(str(value).split()))
    groups = pd.DataFrame(index=table.index) if within is None else within
    across = next((name for name in groups.columns[:1] if name in table and table.shape[1] > 1), None)
    of_rows = [] if across is None else _escaped(table.pop(across))
    figures = [head for head in table.columns if head in figures]
    texts = [head for head in table.columns if head not in figures]
    parted = groups.iloc[:, 0].ne(groups.iloc[:, 0].shift()) if groups.shape[1] else pd.Series(False, table.index)
    shown = table.copy()
    ranked = ~pd.Series(unmarked or False, table.index)
    for head in figures:
        shown[head] = _marked(table[head], groups, ranked, with_bounds=len(figures) <= _MOST_WITH_INTERVALS)
    styled = shown.style.hide(axis="index").format(escape="latex", subset=texts).format_index(escape="latex", axis=1)
    align = "".join("r" if head in figures else "l" for head in table.columns)
    head, _, rest = styled.to_latex(hrules=True, column_format=align).partition("\\midrule\n")
    rows = rest.partition("\\bottomrule")[0].splitlines()
    body: list[str] = []
    for at, (row, new) in enumerate(zip(rows, parted, strict=True)):
        body += ["\\midrule"] if new and at else []
        named = _lines(of_rows[at], _MOST_ACROSS) if new and of_rows else []
        body += [f"\\multicolumn{{{table.shape[1]}}}{{l}}{{\\emph{{{line}}}}} \\\\" for line in named]
        body.append(row)
    names = _heads(head.partition("\\toprule\n")[2].strip().removesuffix("\\\\").strip().split(" & "))
    if len(figures) > _MOST_WITH_INTERVALS:
        title = title.removesuffix(_INTERVALS)
    caption = f"\\caption{{{_escaped([title])[0]}}}" if title else ""
    caption += f"\\label{{{label}}}" if label else ""
    if len(rows) > _MOST_ON_A_PAGE:
        ends = f" {caption} \\\\\n" if caption else ""
        opened = f"\\begin{{longtable}}{{{align}}}\n{ends}\\toprule\n{names}\n\\midrule\n\\endhead\n"
        return "\n".join(
            [f"% needs booktabs and longtable\n{opened.rstrip()}", *body, "\\bottomrule", "\\end{longtable}", ""]
        )
    opened = f"\\begin{{tabular}}{{{align}}}\n\\toprule\n{names}\n\\midrule"
    around = [
        "% needs booktabs",
        "\\begin{table}",
        "\\centering\\small\\setlength{\\tabcolsep}{4pt}",
        *([caption] if caption else []),
        opened,
    ]
    return "\n".join([*around, *body, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _escaped(texts: Iterable[str]) -> list[str]:
    styled = pd.DataFrame({"": list(texts)}).style.hide(axis="index").hide(axis="columns").format(escape="latex")
    return [line.removesuffix("\\\\").strip() for line in styled.to_latex().splitlines()[1:-1]]


def _lines(name: str, letters: int) -> list[str]:
    """A long name in lines, which end after hyphens, commas and spaces and before brackets."""
    return [line.strip() for line in re.findall(rf".{{1,{letters}}}(?:(?<=[-, ])|(?=\[)|$)|.[^-, \[]*[-, ]?", name)]


def _above(task: str, columns: int) -> str:
    # The braces keep LaTeX from reading a bracket that begins a line as an option of the line's end.
    lines = r" \\ {}".join(_lines(task, _MOST_ABOVE * columns))
    return f"\\scriptsize\\shortstack{{{lines}}}" if r"\\" in lines else lines


def _heads(names: Sequence[str]) -> str:
    """The heads in LaTeX; those with a task before their metric, as ``task: metric``, in two rows."""
    spans = [(task, len(list(own))) for task, own in groupby(names, key=lambda name: name.rpartition(": ")[0])]
    below = " & ".join(_above(name.rpartition(": ")[2], 1) for name in names) + r" \\"
    if not any(task for task, _ in spans):
        return below
    above = [f"\\multicolumn{{{n}}}{{c}}{{{_above(task, n)}}}" if task else " & " * (n - 1) for task, n in spans]
    ends = list(accumulate(n for _, n in spans))
    rules = [f"\\cmidrule(lr){{{end - n + 1}-{end}}}" for (task, n), end in zip(spans, ends, strict=True) if task]
    return "\n".join([" & ".join(above) + r" \\", "".join(rules), below])


def _marked(figures: pd.Series, groups: pd.DataFrame, ranked: pd.Series, with_bounds: bool) -> pd.Series:
    """Cells such as ``63.2 [60.1, 66.0]`` in LaTeX; those that are not ``ranked`` are neither best nor second."""
    found = figures.str.extract(f"^{_FIGURE.pattern}$")
    values = pd.to_numeric(found["value"])
    by = [groups[name] for name in groups] or [pd.Series(0, figures.index)]
    place = values.where(ranked).groupby(by).rank(method="dense", ascending=False)
    bold, under = values.map("\\textbf{{{:.1f}}}".format), values.map("\\underline{{{:.1f}}}".format)
    shown = values.map("{:.1f}".format).mask(place == 1, bold).mask(place == 2, under).mask(values.isna(), "--")
    bounds = found["bounds"].fillna("").str.strip()
    return shown + bounds.map(lambda text: f" {{\\scriptsize {text}}}" if text and with_bounds else "")
