"""``mmcl-bench data export`` and ``synth``: data in the forms that others' code reads."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmcl_bench.cli.console import opened, progress
from mmcl_bench.cli.data.listing import Name
from mmcl_bench.cli.options import DataRoot
from mmcl_bench.core import paths

Output = Annotated[
    Path,
    typer.Option(
        help="What to write, not there yet. Text files go to a folder, or to a zip where it is called NAME.zip."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes that work; by default one a core, eight at most. Any number gives the same.", min=1),
]


class ExportFormat(StrEnum):
    CTR_GCN_NPZ = "ctr-gcn-npz"
    NTU_SKELETON = "ntu-skeleton"


class SynthFormat(StrEnum):
    SKELETON = "skeleton"
    NPZ = "npz"


def export(
    name: Name,
    output: Output,
    form: Annotated[
        ExportFormat,
        typer.Option("--format", help="One .npz with train and test arrays, or a .skeleton text file a clip."),
    ],
    side: Annotated[
        str | None, typer.Option(help="For an .npz: how clips are parted in train and test; the set's default side.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help="For an .npz: frames of each clip, zeros at its end; those of the longest.", min=1),
    ] = None,
    centred: Annotated[
        bool,
        typer.Option("--centred", help="For an .npz: begin with the middle of the spine in the origin, as published."),
    ] = False,
    workers: Workers = None,
    data_root: DataRoot = None,
) -> None:
    """Write a prepared data set so that code made for NTU RGB+D reads it: 25 joints of Kinect v2, metres, y up."""
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.datasets.writers.export import export_npz, export_skeletons

    dataset = opened(name, paths.data_root(data_root))
    with progress(f"exporting {name}", "clips") as advance:
        if form == ExportFormat.CTR_GCN_NPZ:
            export_npz(dataset, output, advance, side, frames, centred, workers)
        elif side or frames or centred:
            raise UserError(f"--side, --frames and --centred are for --format {ExportFormat.CTR_GCN_NPZ}")
        else:
            export_skeletons(dataset, output, advance, workers)
    typer.echo(output)


def synth(
    output: Output,
    clips: Annotated[int, typer.Option(help="Clips to make, spread evenly over classes, subjects and cameras.", min=1)],
    like: Annotated[
        str, typer.Option(help="The data set whose classes and file names they have: ntu60 or ntu120.")
    ] = "ntu60",
    form: Annotated[
        SynthFormat,
        typer.Option("--format", help="A .skeleton text file a clip, or one .npz with train and test arrays."),
    ] = SynthFormat.SKELETON,
    seed: Annotated[int, typer.Option(help="Another number gives other clips.", min=0)] = 0,
    subjects: Annotated[
        int | None, typer.Option(help="Number of people, by default as many as the data set has: 40 or 106.", min=1)
    ] = None,
    side: Annotated[
        str | None, typer.Option(help="For an .npz: x-sub (the default), or x-view of ntu60 or x-set of ntu120.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Make a synthetic data set of any size in the files of a published one. The same command gives the same bytes."""
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.datasets.writers.synthetic import LIKE, synth_npz, synth_skeletons, wanted_clips

    if like not in LIKE:
        raise UserError(f"--like {like}: the generator knows the classes of {' and '.join(LIKE)}")
    published = LIKE[like]
    wanted = wanted_clips(clips, seed, subjects, published)
    with progress("making synthetic clips", "clips") as advance:
        if form == SynthFormat.NPZ:
            synth_npz(wanted, output, advance, side, workers, published)
        elif side:
            raise UserError(f"--side is for --format {SynthFormat.NPZ}; text files are not parted")
        else:
            synth_skeletons(wanted, output, advance, workers, published)
    typer.echo(output)
