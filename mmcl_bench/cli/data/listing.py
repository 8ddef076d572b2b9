"""``mmcl-bench data list`` and ``info``: which data sets there are, and what a prepared one holds."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcl_bench.cli import completion
from mmcl_bench.cli.console import AsJson, opened, show, show_json
from mmcl_bench.cli.options import DataRoot
from mmcl_bench.core import paths
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.datasets.prepare import Summary
    from mmcl_bench.datasets.readers import Reader
    from mmcl_bench.datasets.store import SkeletonDataset

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the data set, as in mmcl-bench data list.", autocompletion=completion.datasets
    ),
]


def list_datasets(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="A shell glob over names, such as 'ntu60*'.")] = "*",
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show every data set that can be prepared, and which are; then your own, and variants of published ones."""
    from mmcl_bench.datasets.readers import READERS
    from mmcl_bench.protocols.catalogue import own_datasets

    root = paths.data_root(data_root)
    rows = [_listed(READERS.get(name), root) for name in fnmatch.filter(READERS.names(), pattern)]
    rows += [_own(name, root) for name in fnmatch.filter(own_datasets(root), pattern)]
    if as_json:
        show_json(rows)
    else:
        show(
            _list_table(rows) if rows else f"no data set is like {pattern}; leave the pattern out to see all",
            spare=["title"],
        )


def samples(
    name: Name,
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="A shell glob over sample ids, such as 'a03_*'.")
    ] = "*",
    of_class: Annotated[str | None, typer.Option("--class", help="Only clips of this class.")] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """List the clips of a prepared data set: sample id, class, subject, camera, frames and bodies."""
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.core.registry import unknown

    dataset = opened(name, paths.data_root(data_root))
    classes = dataset.card.classes
    if of_class is not None and of_class not in classes:
        raise UserError(unknown(f"class of {name}", of_class, sorted(classes)))
    rows = [
        {
            "sample": clip.sample_id,
            "class": classes[clip.label],
            "subject": int(clip.subject),
            "camera": int(clip.camera),
            "frames": int(clip.n_frames),
            "bodies": len(clip.track_start),
        }
        for clip in dataset.index.itertuples()
        if fnmatch.fnmatchcase(clip.sample_id, pattern) and of_class in (None, classes[clip.label])
    ]
    if as_json:
        show_json(rows)
    else:
        show(_sample_table(rows) if rows else f"no sample of {name} is like {pattern}")


def _sample_table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    shown = [name for name in rows[0] if name not in ("subject", "camera") or any(row[name] for row in rows)]
    for name in shown:
        table.add_column(name, justify="left" if name in ("sample", "class") else "right", no_wrap=name == "sample")
    for row in rows:
        table.add_row(*(Text(str(row[name] or ("" if name in ("subject", "camera") else 0))) for name in shown))
    return table


def info(name: Name, data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Show what a prepared data set holds: clips, classes, frames, duplicates across its sides, fingerprint."""
    from mmcl_bench.datasets import prepare as preparing

    dataset = opened(name, paths.data_root(data_root))
    if as_json:
        show_json(described(dataset))
    else:
        show(summary_table(preparing.summary(dataset)))


def described(dataset: SkeletonDataset) -> dict[str, Any]:
    """What a program may want to know of a prepared data set."""
    from mmcl_bench.datasets.prepare import summary

    card = dataset.card
    missing = [] if card.completeness is None else list(card.completeness.missing)
    facts = {
        "skipped_files": card.skipped,
        "missing": missing,
        "noted": card.noted,
        "homepage": card.homepage,
        "citation": card.citation,
    }
    return {**summary(dataset), **facts}


def _listed(reader: type[Reader], root: Path) -> dict[str, Any]:
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.datasets.completeness import with_completeness
    from mmcl_bench.datasets.store import CARD, SkeletonDataset

    clips, state = None, "made on first use" if reader.embedded else "not prepared"
    if (root / reader.name / CARD).is_file():
        try:
            card = with_completeness(SkeletonDataset.open(root / reader.name)).card
            clips, state = card.n_clips, "prepared"
            if card.completeness is not None and not card.completeness.is_whole:
                state = f"prepared, {card.completeness}"
        except UserError:
            state = "prepare again"
    return {
        "name": reader.name,
        "title": reader.title,
        "state": state,
        "prepared": clips is not None,
        "clips": clips,
        "embedded": reader.embedded,
        "synthetic": reader.synthetic,
        "modalities": [str(modality) for modality in reader.modalities],
    }


def _own(name: str, root: Path) -> dict[str, Any]:
    """The same of a set that is not called like a published one."""
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.datasets.store import SkeletonDataset

    try:
        card = SkeletonDataset.open(root / name).card
    except UserError:
        unknown: dict[str, Any] = {"title": "", "clips": None, "embedded": False, "synthetic": None, "modalities": []}
        return {"name": name, "state": "prepare again", "prepared": False, **unknown}
    return {
        "name": name,
        "title": card.title,
        "state": f"prepared by reader {card.reader}",
        "prepared": True,
        "clips": card.n_clips,
        "embedded": False,
        "synthetic": card.synthetic,
        "modalities": [str(modality) for modality in card.modalities],
    }


def _list_table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table()
    for column in ("name", "title", "clips", "state"):
        table.add_column(column, justify="right" if column == "clips" else "left")
    for row in rows:
        table.add_row(row["name"], row["title"], "" if row["clips"] is None else f"{row['clips']:,}", row["state"])
    return table


def _kind(synthetic: bool) -> str:
    return "synthetic" if synthetic else "recorded"


def summary_table(figures: Summary) -> Table:
    from rich.table import Table

    frames = figures["frames"]
    table = Table(title=figures["title"], show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("data", _kind(figures["synthetic"]))
    table.add_row("clips", f"{figures['clips']:,} ({figures['skipped']:,} left out)")
    if figures["completeness"]:
        table.add_row("whole" if figures["is_whole"] else "incomplete", figures["completeness"])
    table.add_row("classes", str(figures["classes"]))
    table.add_row("subjects", str(figures["subjects"] or "not told apart"))
    table.add_row("frames", f"{frames['min']} to {frames['max']}, median {frames['median']:g}")
    table.add_row("bodies", ", ".join(f"{counted(clips, 'clip')} with {n}" for n, clips in figures["bodies"].items()))
    table.add_row("joints", f"{figures['joints']} ({figures['layout']})")
    table.add_row("modalities", ", ".join(figures["modalities"]))
    for side, clips in figures["duplicates"].items():
        table.add_row(f"test clips of {side} also in training", str(clips))
    table.add_row("fingerprint", figures["fingerprint"])
    return table
