"""``mmcl-bench predict``: the classes of clips, by the model of a finished job."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, progress
from mmcl_bench.cli.options import key_values
from mmcl_bench.cli.trained import Job, OfMethod, OfSeed, Text, Texts, trained_model
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from mmcl_bench.inference.predict import Prediction


def predict(
    job: Job,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A file, folder or zip of skeletons: your own data with a manifest.csv, loose .npy, .csv or .skeleton "
            "files, or a published set; or the name of a prepared data set.",
        ),
    ],
    method: OfMethod = None,
    seed: OfSeed = None,
    reader: Annotated[
        str | None,
        typer.Option(
            help="The data set whose reader reads SOURCE; of files that say nothing of themselves, the one that the "
            "job was trained on."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the reader, as key=value. Repeatable.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="Joint layout of loose .npy and .csv files; when not given, the one that the model scores."),
    ] = None,
    top: Annotated[int, typer.Option(help="Classes to name for a clip, the likeliest first.", min=1)] = 5,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="Zero-shot: subtract the calibration that the job chose from the scores of seen classes.",
        ),
    ] = False,
    text: Text = None,
    texts: Texts = None,
    skip_bad: options.SkipBad = False,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write to, whole or not at all; standard output when not given.", dir_okay=False),
    ] = None,
    device: options.Device = "auto",
    data_root: options.DataRoot = None,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Name the likeliest classes of every clip, as CSV: sample, then class and probability by rank."""
    if calibrated and (text or texts):
        raise UserError("--calibrated is for the job's own classes; leave it out, or the class texts")
    model = trained_model(job, method, seed, text, texts, device, data_root, results)

    from mmcl_bench.datasets.sources import open_source
    from mmcl_bench.inference.predict import predict as predictions_of

    bad: dict[str, str] = {}

    def on_bad(name: str, reason: str) -> None:
        if not skip_bad:
            raise UserError(f"{source}: {name} {reason}; mend it, or leave it out with --skip-bad")
        bad[name] = reason

    top = min(top, len(model.classes))
    opened = open_source(
        source,
        paths.data_root(data_root),
        reader,
        key_values("--set", settings),
        layout or model.layout,
        model.usual_reader,
    )
    with opened as clips, progress("predicting", "clips") as advance:
        if clips.layout != model.layout:
            typer.echo(f"joints are mapped from {clips.layout} to {model.layout}", err=True)
        # All of them before the first is written: a bad clip leaves no half of a table.
        predictions = list(predictions_of(model, clips, on_bad, top, calibrated, advance))
        if as_json:
            n_clips = _write(output, lambda file: _as_json(predictions, bad, file))
        else:
            n_clips = _write(output, lambda file: _as_csv(predictions, top, file))
    for name, reason in bad.items():
        typer.echo(f"left out: {name} {reason}", err=True)
    left_out = f", {len(bad)} left out" if bad else ""
    place = f", written to {output}" if output else ""
    typer.echo(f"{counted(n_clips, 'clip')} of {clips.where}{left_out}{place}", err=True)


def _write(output: Path | None, write: Callable[[TextIO], int]) -> int:
    """Writes to a file in one step, or to standard output; returns what ``write`` counted."""
    from mmcl_bench.core.files import write_atomically

    if output is None:
        return write(sys.stdout)
    counted = 0

    def write_file(path: Path) -> None:
        nonlocal counted
        with path.open("w", encoding="utf-8", newline="") as file:
            counted = write(file)

    if not output.parent.is_dir():
        raise UserError(f"{output.parent}: no such folder; make it, or choose another --output")
    write_atomically(output, write_file)
    return counted


def _as_csv(predictions: Iterable[Prediction], top: int, file: TextIO) -> int:
    """A row a clip; returns how many."""
    writer = csv.writer(file, lineterminator="\n")
    ranks = range(1, top + 1)
    writer.writerow(["sample", *(name for rank in ranks for name in (f"class_{rank}", f"probability_{rank}"))])
    n_clips = 0
    for each in predictions:
        n_clips += 1
        ranked = zip(each.classes, each.probabilities, strict=True)
        writer.writerow([each.sample, *(cell for name, share in ranked for cell in (name, f"{share:.6g}"))])
    return n_clips


def _as_json(predictions: Iterable[Prediction], bad: Mapping[str, str], file: TextIO) -> int:
    """One object: predictions, and the reasons of what was left out by name; returns how many clips it holds."""
    listed = [
        {
            "sample": each.sample,
            "classes": [
                {"class": name, "probability": share}
                for name, share in zip(each.classes, each.probabilities, strict=True)
            ],
        }
        for each in predictions
    ]
    json.dump({"predictions": listed, "left_out": dict(bad)}, file, indent=2)
    file.write("\n")
    return len(listed)
