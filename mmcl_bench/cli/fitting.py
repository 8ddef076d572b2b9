"""Tables that fit a terminal without cutting words; and as plain columns, for pipes and files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_LONGEST, _SHORTEST = 40, 20
"""A piece of a word with more letters than the first, such as a hash, may be cut anywhere, but not shorter than the
second."""
_GAP = "  "
_INTERVAL = re.compile(r"\[[^\[\]A-Za-z]*\]")
_BREAK = re.compile(r"[ \t]+|(?<=[A-Za-z)\]]{2}[-/_,:])(?=[A-Za-z\[])|(?<=\w)(?=\[)")
"""Where a line may end: at spaces, after a hyphen, slash or the like that follows two letters, before a bracket."""


def plain(table: Table) -> Iterator[str]:
    """The lines of a table as columns with two spaces between, however wide; its title above, its caption below."""
    yield from _lines_of(table.title)
    heads, rows = _heads(table), _rows(table)
    cells = [[" ".join(cell.plain.split("\n")) for cell in row] for row in ([heads] if heads else []) + rows]
    widths = [max(Text(cell).cell_len for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (
            _padded(Text(cell), width, _is_right(table, at)).plain
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield _GAP.join(padded).rstrip()
    yield from _lines_of(table.caption)


def fitted(table: Table, width: int, spare: Collection[str] = ()) -> RenderableType:
    """A table of at most ``width`` letters a line. Where all of it does not fit, columns called like one of ``spare``
    are left out, the last first; then cells are wrapped between words, but for columns of ``no_wrap``; and where these
    do not fit, each row becomes a few lines of names and values."""
    heads, rows = _heads(table), _rows(table)
    shown = list(range(len(table.columns)))
    columns = [[*([heads[at]] if heads else []), *(row[at] for row in rows)] for at in shown]
    natural = [max((_width(cell) for cell in column), default=0) for column in columns]
    for at in reversed(shown):
        if _total(natural, shown) > width and heads and heads[at].plain in spare:
            shown.remove(at)
    narrowest = [
        natural[at] if table.columns[at].no_wrap else max((_narrowest(cell) for cell in column), default=0)
        for at, column in enumerate(columns)
    ]
    above, below = (_paragraph(text, width) for text in (table.title, table.caption))
    if _total(narrowest, shown) > width:
        return Group(*above, *_as_list(heads, rows, width), *below)
    widths = dict(enumerate(natural))
    while _total(widths, shown) > width:
        widest = max((at for at in shown if widths[at] > narrowest[at]), key=lambda at: widths[at])
        widths[widest] -= 1
    body = Table(box=box.SIMPLE_HEAD, show_header=bool(heads), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for at in shown:
        head = _wrapped(heads[at], widths[at]) if heads else ""
        body.add_column(head, justify=table.columns[at].justify, style=table.columns[at].style, no_wrap=True)
    for row, form in zip(rows, table.rows, strict=True):
        body.add_row(*(_wrapped(row[at], widths[at]) for at in shown), style=form.style)
    return Group(*above, body, *below)


def _as_list(heads: Sequence[Text], rows: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    """For each row its first cell, and below it the names and values of the others."""
    for first, *others in rows:
        title = first.copy()
        title.stylize("bold")
        yield _wrapped(title, width)
        line = Text()
        for head, cell in zip_longest(heads[1:], others, fillvalue=Text()):
            if not cell.plain.strip():
                continue
            pair = Text.assemble((f"{head.plain} ", "dim"), Text(" ".join(cell.plain.split())))
            if line and len(_GAP) + line.cell_len + len(_GAP) + pair.cell_len > width:
                yield from _indented(line, width)
                line = Text()
            line = Text(_GAP).join([line, pair]) if line else pair
        yield from _indented(line, width)


def _indented(line: Text, width: int) -> Iterator[Text]:
    for part in _wrapped(line, width - len(_GAP)).split("\n"):
        yield Text.assemble(_GAP, part)


def _heads(table: Table) -> list[Text]:
    return [_text(column.header) for column in table.columns] if table.show_header else []


def _rows(table: Table) -> list[list[Text]]:
    columns = [[_text(cell) for cell in column.cells][-len(table.rows) :] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)] if table.rows else []


def _text(cell: RenderableType | None) -> Text:
    return cell if isinstance(cell, Text) else Text(str(cell or ""))


def _lines_of(text: RenderableType | None) -> list[str]:
    return [line for line in _text(text).plain.split("\n") if line]


def _paragraph(text: RenderableType | None, width: int) -> list[Text]:
    return [_wrapped(line, width) for line in _text(text).split("\n") if line]


def _is_right(table: Table, at: int) -> bool:
    return table.columns[at].justify == "right"


def _padded(cell: Text, width: int, right: bool) -> Text:
    padded = cell.copy()
    (padded.pad_left if right else padded.pad_right)(width - cell.cell_len)
    return padded


def _total(widths: Sequence[int] | dict[int, int], shown: Sequence[int]) -> int:
    return sum(widths[at] + len(_GAP) for at in shown) - len(_GAP)


def _width(cell: Text) -> int:
    return max(line.cell_len for line in cell.split("\n", allow_blank=True))


def _narrowest(cell: Text) -> int:
    """The width of the longest piece that is kept whole."""
    pieces = (piece for line in _kept_intervals(cell.plain).split("\n") for piece in _BREAK.split(line))
    widths = (Text(piece).cell_len for piece in pieces)
    return max(width if width <= _LONGEST else _SHORTEST for width in widths)


def _wrapped(cell: Text, width: int) -> Text:
    """The text with line breaks between its pieces."""
    lines = []
    for line in cell.split("\n", allow_blank=True):
        for part in line.divide(_line_ends(_kept_intervals(line.plain), width)):
            part.rstrip()
            lines.append(part)
    return Text("\n").join(lines)


def _line_ends(line: str, width: int) -> list[int]:
    ends: list[int] = []
    start = last = 0
    for end in _allowed_ends(line):
        if last > start and Text(line[start:end].rstrip(" ")).cell_len > width:
            ends.append(last)
            start = last
        last = end
    return ends


def _allowed_ends(line: str) -> Iterator[int]:
    """Where a line may end, its own end included; long pieces may be cut anywhere."""
    start = 0
    for end in (*(match.end() for match in _BREAK.finditer(line)), len(line)):
        if end - start > _LONGEST:
            yield from range(start + 1, end)
        yield end
        start = end


def _kept_intervals(line: str) -> str:
    """The same with signs that are no spaces within intervals, ``[60.1, 66.0]``, which are not to be parted."""
    return _INTERVAL.sub(lambda interval: interval[0].replace(" ", "\N{NO-BREAK SPACE}"), line)
