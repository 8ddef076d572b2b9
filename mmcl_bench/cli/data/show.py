"""``mmcl-bench data show``: one clip as pictures, or one of each class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli.console import opened, show, status
from mmcl_bench.cli.data.listing import Name
from mmcl_bench.cli.options import DataRoot
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.datasets.store import SkeletonDataset


def show_sample(
    name: Name,
    sample: Annotated[
        str | None,
        typer.Argument(
            metavar="SAMPLE",
            help="Sample id of the clip, as in mmcl-bench data samples; without it, one clip of each class is drawn.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder to write pictures to.", file_okay=False)] = Path(),
    frames: Annotated[int, typer.Option(help="Poses in the strip.", min=1, max=24)] = 8,
    data_root: DataRoot = None,
) -> None:
    """Draw a clip, all its bodies, as an animated GIF and as a strip of poses in PNG, and say what is known of it.

    Without SAMPLE, draw a contact sheet in PNG, with one clip of each class.
    """
    from mmcl_bench.datasets.preview import file_stem, preview, write_gif, write_strip

    dataset = opened(name, paths.data_root(data_root))
    if sample is None:
        typer.echo(_write_sheet(dataset, output))
        return
    row = _row(dataset, sample)
    stem = output / file_stem(dataset.card.name, sample)
    gif, strip = stem.with_suffix(".gif"), stem.with_suffix(".png")
    clip = preview(dataset, row)
    with _writing_to(output):
        write_gif(clip, gif)
        write_strip(clip, frames, strip)
    show(_facts(dataset, row))
    typer.echo(gif)
    typer.echo(strip)


def _write_sheet(dataset: SkeletonDataset, output: Path) -> Path:
    """Draws the first clip of each class; returns the picture's path."""
    from mmcl_bench.datasets.preview import file_stem, preview, write_sheet

    card = dataset.card
    labels = dataset.index["label"].drop_duplicates().sort_values()
    synthetic = " (synthetic)" if card.synthetic else ""
    path = output / f"{file_stem(card.name, 'classes')}.png"
    title = f"{card.name}{synthetic}: a clip of each of {counted(len(labels), 'class', 'classes')}"
    with _writing_to(output), status("drawing"):
        write_sheet(title, [preview(dataset, int(row)) for row in labels.index], path)
    return path


@contextmanager
def _writing_to(output: Path) -> Iterator[None]:
    """Makes the folder. Raises :class:`UserError` where it cannot be written to."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror or error}); choose another --output") from error


def _row(dataset: SkeletonDataset, sample: str) -> int:
    """The row of a sample id. Raises :class:`UserError` with the nearest ones."""
    import difflib

    sample_ids: list[str] = dataset.index["sample_id"].tolist()
    try:
        return sample_ids.index(sample)
    except ValueError:
        near = difflib.get_close_matches(sample, sample_ids, n=3, cutoff=0.6) or sample_ids[:3]
        raise UserError(
            f"{dataset.card.name} has no sample {sample!r}; the nearest of its {len(sample_ids)} are {', '.join(near)}"
        ) from None


def _facts(dataset: SkeletonDataset, row: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    from mmcl_bench.datasets.store import each_subject

    card, clip = dataset.card, dataset.index.iloc[row]
    sides = {
        name: [bool(mask[0]) for mask in side.masks(dataset.index[row : row + 1])] for name, side in card.sides.items()
    }
    subjects = [number for number in each_subject(dataset.index[row : row + 1])["subject"] if number]
    rate = f"{card.frame_rate:g} frames a second" if card.frame_rate else "unknown frame rate"
    facts = {
        "class": f"{card.classes[clip.label]} (label {clip.label})",
        "data": "synthetic" if card.synthetic else "recorded",
        **({"subject": " and ".join(map(str, subjects))} if subjects else {}),
        **{column: str(clip[column]) for column in ("camera", "setup") if clip[column]},
        **{name: "train" if trains else "test" if tests else "neither side" for name, (trains, tests) in sides.items()},
        "frames": f"{clip.n_frames}, {rate}",
        "bodies": ", ".join(
            f"{number} in frames {start} to {start + length - 1}"
            for number, (start, length) in enumerate(zip(clip.track_start, clip.track_length, strict=True), 1)
        ),
        "hash of its poses": clip.content.hex()[:16],
    }
    table = Table(title=Text(clip.sample_id), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fact, value in facts.items():
        table.add_row(Text(fact), Text(value))
    return table
