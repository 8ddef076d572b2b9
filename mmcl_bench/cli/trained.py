"""What the verbs that use a trained model share: choosing its job and its class texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli.options import key_values
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError

if TYPE_CHECKING:
    from mmcl_bench.inference.predict import TrainedModel

Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A finished job: its folder, the start of its hash, or its task, such as 'zero-shot/synth60', where no "
        "other job is of that task, --method and --seed.",
    ),
]
OfMethod = Annotated[str | None, typer.Option("--method", help="Of the jobs of a task, those of this method.")]
OfSeed = Annotated[int | None, typer.Option("--seed", help="Of the jobs of a task, the one with this seed.", min=0)]
Text = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        help="Zero-shot: a class to choose from, as 'name=what it looks like'. Repeatable; such classes take the place "
        "of the job's own.",
    ),
]
Texts = Annotated[
    Path | None,
    typer.Option(
        "--texts",
        help='Zero-shot: a file of classes to choose from: TOML of "name" = "text", or CSV with columns name and text.',
        dir_okay=False,
    ),
]


def trained_model(
    job: str,
    method: str | None,
    seed: int | None,
    text: Sequence[str] | None,
    texts: Path | None,
    device: str,
    data_root: Path | None,
    results: Path | None,
) -> TrainedModel:
    """The model that the options name, with their class texts. Raises :class:`UserError`."""
    from mmcl_bench.core.compute import find_device
    from mmcl_bench.inference.predict import TrainedModel, find_job, read_texts

    if text and texts:
        raise UserError("--text and --texts both name the classes; give one")
    stored = find_job(paths.results_root(results), job, method, seed)
    model = TrainedModel.of(stored, find_device(device))
    classes = read_texts(texts) if texts else key_values("--text", text)
    return model.with_texts(classes, paths.data_root(data_root)) if classes else model
