"""``mmcl-bench list``: what there is to run."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import completion
from mmcl_bench.cli.console import AsJson, show
from mmcl_bench.cli.descriptions import described
from mmcl_bench.cli.options import DataRoot
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import RGB_AT_TEST
from mmcl_bench.core.text import counted, fold_number, joined_datasets, with_folds_together

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method
    from mmcl_bench.protocols.splits import Split
    from mmcl_bench.skeleton.layouts import Layout

app = typer.Typer(help="List tasks, methods, data sets, layouts, encoders or splits.", no_args_is_help=True)

_LONG = 20
"""Letters from which on the splits of a task are counted instead of named: a task is one line of a narrow terminal."""
Pattern = Annotated[str, typer.Argument(metavar="PATTERN", help="A shell glob over names, such as 'zero-shot/*'.")]


@app.command()
def tasks(pattern: Pattern = "*", data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """List the tasks, at the default of their parameters, those of your own prepared sets included."""
    from mmcl_bench.protocols.catalogue import list_tasks
    from mmcl_bench.results.groups import metric_title

    rows = [
        {
            "task": task.identity,
            "title": task.card.title,
            "data": joined_datasets(task.datasets),
            "splits": ", ".join(task.card.split_names()) or "-",
            "main metric": task.card.main_metric,
        }
        for task in list_tasks(pattern, paths.data_root(data_root))
    ]
    if not as_json:
        rows = [
            {
                "task": row["task"],
                "splits": _counted_splits(row["splits"]),
                "metric": metric_title(row["main metric"]),
                "title": row["title"],
            }
            for row in rows
        ]
    _print("tasks", rows, as_json, spare=["title"])


def _counted_splits(names: str) -> str:
    """The splits of a task in few letters; folds are counted apart."""
    folds = [name for name in names.split(", ") if fold_number(name)]
    others = [name for name in names.split(", ") if not fold_number(name)]
    shown = ", ".join(others) if len(", ".join(others)) < _LONG - 7 * bool(folds) else f"{len(others)} splits"
    return ", ".join([*([shown] if others else []), *([f"{len(folds)} folds"] if folds else [])])


@app.command()
def methods(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="PATTERN",
            help="The name of a method, for all that is known of it, or a shell glob over names or over kind/name.",
            autocompletion=completion.methods,
        ),
    ] = "*",
    as_json: AsJson = False,
) -> None:
    """List the methods by kind; of a single one, what it is and its settings."""
    from mmcl_bench.methods import METHODS

    by_kind = "/" in pattern
    rows = described(
        METHODS,
        "*" if by_kind else pattern,
        lambda method: {
            "kind": method.kind,
            "version": str(method.version),
            "families": ", ".join(sorted(method.families)),
            "setting": RGB_AT_TEST if method.scores_with else str(method.setting),
            "published": method.published or "-",
            "texts": ", ".join(method.text_slots) or "-",
            "cost": method.cost or "-",
            "deterministic": "yes" if method.deterministic else "no",
            "summary": method.summary,
        },
    )
    if by_kind:
        rows = [row for row in rows if fnmatch.fnmatch(f"{row['kind']}/{row['method']}", pattern)]
    if len(rows) == 1 and rows[0]["method"] == pattern:
        settings, texts = _settings(METHODS.get(pattern)), _text_slots(METHODS.get(pattern))
        if as_json:
            typer.echo(json.dumps([rows[0] | {"settings": settings, "text slots": texts}], indent=1))
            return
        _print(pattern, [{"fact": name, "value": value} for name, value in rows[0].items()], as_json)
        if texts:
            _print("texts of a class that it reads besides the main one", texts, as_json)
        if settings:
            _print_settings(settings)
    elif as_json:
        _print("methods", rows, as_json)
    else:
        _print_by_kind(sorted(rows, key=lambda row: (row["kind"], row["method"])))


def _settings(method: type[Method]) -> list[dict[str, str]]:
    """Every setting that one can set, with its value in each preset and what it is."""
    from mmcl_bench.core.settings import setting_text

    presets = {name: preset.model_dump(mode="json") for name, preset in method.presets.items()}
    settable, meanings = method.Settings.shown(presets["quick"], {}), method.Settings.meanings()
    return [
        {
            "setting": name,
            **{preset: setting_text(values[name]) for preset, values in presets.items()},
            "meaning": meanings[name].replace("``", "").replace("None:", "null:"),
        }
        for name in presets["quick"]
        if name in settable
    ]


def _print_settings(rows: Sequence[dict[str, str]]) -> None:
    """The values of other presets are shown where they are others than that of quick."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="settings, as --set setting=value; values of preset quick", title_justify="left")
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", max_width=22)
    table.add_column("meaning")
    for row in rows:
        others = {name: text for name, text in row.items() if name not in ("setting", "quick", "meaning")}
        told = ", ".join(f"{name}: {text}" for name, text in others.items() if text != row["quick"])
        value = f"{row['quick']} ({told})" if told else row["quick"]
        table.add_row(*map(Text, (row["setting"], value, row["meaning"])))
    show(table)


def _text_slots(method: type[Method]) -> list[dict[str, str]]:
    from mmcl_bench.datasets.classes import ClassText

    return [{"text": slot, "meaning": ClassText.meaning(slot)} for slot in method.text_slots]


def _print_by_kind(rows: Sequence[dict[str, str]]) -> None:
    """A table of methods, a line above each kind; texts beside the main one are counted, and left out at 80 columns."""
    from rich.table import Table
    from rich.text import Text

    from mmcl_bench.protocols.cards import FAMILIES

    columns = ("method", "families", "setting", "published", "more texts", "cost")
    table = Table(title="methods by kind")
    for column in columns:
        table.add_column(column, no_wrap=column in ("method", "setting", "cost"))
    for kind, members in groupby(rows, key=lambda row: row["kind"]):
        table.add_row(Text(kind, style="bold"))
        for row in members:
            n_texts = row["texts"].count(",") + 1
            texts = f"{n_texts} slots" if n_texts > 2 else row["texts"]
            shown = row | {"method": f"  {row['method']}", "more texts": texts}
            if row["families"].count(",") == len(FAMILIES) - 1:
                shown["families"] = "all"
            table.add_row(*(Text(shown[column]) for column in columns))
    show(table if rows else "no methods match; leave the pattern out to see all", spare=["more texts"])


@app.command()
def datasets(pattern: Pattern = "*", data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """List the data sets that can be read, and your own that are prepared."""
    from mmcl_bench.datasets.readers import READERS

    rows = described(
        READERS,
        pattern,
        lambda reader: {
            "title": reader.title,
            "layout": reader.layout,
            "sides": ", ".join(reader.sides),
            "source": "made on first use" if reader.embedded else reader.homepage,
        },
    )
    rows += _own_sets(pattern, paths.data_root(data_root))
    _print("data sets", rows, as_json, spare=["layout", "sides", "source"])


def _own_sets(pattern: str, data_root: Path) -> list[dict[str, str]]:
    from mmcl_bench.protocols.catalogue import own_datasets

    rows = []
    for name in fnmatch.filter(own_datasets(data_root), pattern):
        from mmcl_bench.datasets.store import SkeletonDataset

        try:
            card = SkeletonDataset.open(data_root / name).card
        except UserError:  # mmcl-bench data list names it
            continue
        layout = card.layout if isinstance(card.layout, str) else card.layout.name
        facts = (card.title, layout, ", ".join(card.sides), f"prepared by reader {card.reader}")
        rows.append({"data set": name, **dict(zip(("title", "layout", "sides", "source"), facts, strict=True))})
    return rows


@app.command()
def layouts(
    pattern: Annotated[
        str,
        typer.Argument(metavar="PATTERN", help="The name of a layout, for its joints, or a shell glob over names."),
    ] = "*",
    as_json: AsJson = False,
) -> None:
    """List the joint layouts; of a single one, the joints in the order of the arrays."""
    from mmcl_bench.skeleton.layouts import get_layout, layout_names

    known = [get_layout(name) for name in layout_names()]
    if chosen := next((layout for layout in known if layout.name == pattern), None):
        _print(f"{chosen.name}: {chosen.source}", _joints(chosen), as_json)
        return
    rows = [
        {
            "layout": layout.name,
            "joints": str(len(layout)),
            "centre": layout.centre,
            "hips": ", ".join(layout.hips),
            "source": layout.source,
        }
        for layout in known
        if fnmatch.fnmatchcase(layout.name, pattern)
    ]
    _print("layouts", rows, as_json, spare=["source"])


def _joints(layout: Layout) -> list[dict[str, str]]:
    other = [layout.joints[at] for at in layout.swap]
    return [
        {
            "number": str(at),
            "joint": joint,
            "bone to": layout.joints[layout.parents[at]] if joint != layout.centre else "- (the centre)",
            "part": ", ".join(part for part, joints in layout.parts.items() if joint in joints),
            "mirrored": other[at] if other[at] != joint else "-",
        }
        for at, joint in enumerate(layout.joints)
    ]


@app.command()
def encoders(pattern: Pattern = "*", as_json: AsJson = False) -> None:
    """List the families of frozen text and image encoders."""
    from mmcl_bench.encoders import ENCODERS

    rows = described(ENCODERS, pattern, lambda family: {"usage": family.usage, "summary": family.summary})
    _print("encoders", rows, as_json)


@app.command()
def backbones(pattern: Pattern = "*", as_json: AsJson = False) -> None:
    """List the skeleton networks that methods can be set to, as in --set backbone=hd-gcn."""
    from mmcl_bench.nn import BACKBONES

    rows = described(BACKBONES, pattern, lambda family: {"summary": family.summary, "source": family.citation})
    _print("backbones", rows, as_json)


@app.command()
def splits(pattern: Pattern = "*", as_json: AsJson = False) -> None:
    """List the zero-shot splits of every class table, as table/split; folds in one line, each with 'TABLE/*fold*'."""
    from mmcl_bench.protocols import splits

    found = [
        split
        for table in splits.split_tables()
        for split in splits.splits(table).values()
        if fnmatch.fnmatchcase(f"{split.table}/{split.name}", pattern)
    ]
    rows = [_split_row(split) for split in found]
    if not as_json and _FOLD not in pattern:
        rows = []
        for _, members in groupby(found, key=lambda split: (split.table, fold_number(split.name) > 0)):
            alike = list(members)
            rows += [_folds_row(alike)] if fold_number(alike[0].name) else map(_split_row, alike)
    _print("splits", rows, as_json, spare=["source"])


_FOLD = "fold"


def _split_row(split: Split) -> dict[str, str]:
    return {
        "split": f"{split.table}/{split.name}",
        "family": split.family,
        "unseen": ", ".join(map(str, split.unseen)),
        "source": split.source,
    }


def _folds_row(folds: Sequence[Split]) -> dict[str, str]:
    """All folds of a table in one line."""
    counts = sorted({len(split.unseen) for split in folds})
    n_classes = len({label for split in folds for label in split.unseen})
    times = sum(len(split.unseen) for split in folds) // n_classes
    return {
        "split": with_folds_together(f"{split.table}/{split.name}" for split in folds)[0],
        "family": _FOLD,
        "unseen": f"{' or '.join(map(str, counts))} of {n_classes}, each {counted(times, 'time')}",
        "source": f"{_FOLD}s: the classes divided {counted(times, 'time')}, in an order drawn by hashing",
    }


def _print(title: str, rows: Sequence[dict[str, str]], as_json: bool, spare: Collection[str] = ()) -> None:
    if as_json:
        typer.echo(json.dumps(list(rows), indent=1))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    show(table if rows else f"no {title} match; leave the pattern out to see all", spare)
