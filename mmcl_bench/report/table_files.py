"""Every table of the report as CSV, Markdown and LaTeX."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mmcl_bench.core.files import write_text

MANIFEST = ".mmcl-bench-tables.json"
"""Beside the tables: the names of those that a report wrote, so that a later one removes only its own."""
SUFFIXES = ("csv", "md", "tex")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


class TableFolder:
    """Writes tables to a folder; :meth:`close` removes what a former report left there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def add(self, stem: str, shown: pd.DataFrame, numbers: pd.DataFrame | None = None, title: str = "") -> list[str]:
        """Writes ``stem.csv``, ``.md`` and ``.tex``; returns their names.

        ``shown`` holds texts as people read them. ``numbers``, where given, is what the CSV holds instead.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        csv = (shown if numbers is None else numbers).to_csv(index=False, float_format="%.4f", lineterminator="\n")
        paths = [self.folder / f"{stem}.{suffix}" for suffix in SUFFIXES]
        for path, text in zip(paths, (csv, to_markdown(shown, title), to_latex(shown, title)), strict=True):
            write_text(path, text)
        self.written += paths
        return [path.name for path in paths]

    def close(self) -> None:
        """Removes stale tables."""
        names = {path.name for path in self.written}
        for stale in written_before(self.folder / MANIFEST, SUFFIXES).keys() - names:
            (self.folder / stale).unlink(missing_ok=True)
        if self.folder.is_dir():
            write_text(self.folder / MANIFEST, json.dumps(sorted(names), indent=1) + "\n")


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


def to_latex(table: pd.DataFrame, title: str = "") -> str:
    r"""A ``longtable`` with the rules of booktabs; texts are escaped."""
    shown = table.map(lambda value: " ".join(str(value).split()))
    styled = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    escaped = pd.DataFrame([[title]]).style.format(escape="latex").to_latex().splitlines() if title else []
    caption = next(
        (line.partition("&")[2].removesuffix(r"\\").strip() for line in escaped if line.startswith("0 &")), None
    )
    latex: str = styled.to_latex(hrules=True, environment="longtable", caption=caption)
    return "% needs booktabs and longtable\n" + latex
