"""``mmcl-bench export``: the network of a finished job as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show_json, status
from mmcl_bench.cli.trained import Job, OfMethod, OfSeed, Text, Texts, trained_model


def export(
    job: Job,
    output: Annotated[Path, typer.Option(help="File to write, such as model.onnx.", dir_okay=False)],
    method: OfMethod = None,
    seed: OfSeed = None,
    text: Text = None,
    texts: Texts = None,
    data_root: options.DataRoot = None,
    results: options.Results = None,
    as_json: AsJson = False,
) -> None:
    """Write the network of a job as one ONNX file: joint positions in, class scores out; and check its scores."""
    model = trained_model(job, method, seed, text, texts, "cpu", data_root, results)

    from mmcl_bench.inference.onnx import export_onnx, preprocessing_path

    with status("exporting and checking"):
        exported = export_onnx(model, output)
    if as_json:
        show_json({"path": str(output), "preprocessing": str(preprocessing_path(output)), **exported.as_json()})
        return
    typer.echo(f"{output}: positions {exported.input_shape} to scores {exported.output_shape}")
    typer.echo(f"{preprocessing_path(output)}: prepare(bodies, metadata) makes positions of a clip, with numpy alone")
    if exported.difference is None:
        typer.echo("not checked, as onnxruntime is not installed; pip install 'mmcl-bench[onnx]'", err=True)
    else:
        typer.echo(f"scores by onnxruntime differ by {exported.difference:.1e} of the largest at most")
