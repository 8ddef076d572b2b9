"""``mmcl-bench info``: what a method's network costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import options
from mmcl_bench.cli.console import AsJson, show, show_json, status
from mmcl_bench.core import paths
from mmcl_bench.core.compute import find_device
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from mmcl_bench.inference.cost import Cost
    from mmcl_bench.skeleton.clips import Modality
    from mmcl_bench.skeleton.layouts import Layout

DEFAULT_LAYOUT, DEFAULT_CLASSES = "kinect-v2", 60
"""Those of NTU RGB+D."""


def info(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="Method, such as mmcl or skeleton-only.")],
    dataset: Annotated[
        str | None, typer.Option(help="Data set that gives layout, classes and modalities; prepared, or known by name.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="Joint layout, where no data set is named; kinect-v2 when not given.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Classes; 60 where no data set is named.", min=2)] = None,
    preset: options.Preset = "quick",
    settings: options.Settings = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames of a clip; as the settings say when not given.", min=4)
    ] = None,
    bodies: Annotated[
        int | None, typer.Option(help="Bodies present in a clip; as many as the network takes when not given.", min=1)
    ] = None,
    batch: Annotated[int, typer.Option(help="Clips a batch, for speed and memory.", min=2)] = 16,
    device: options.Device = "auto",
    data_root: options.DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a method's network costs: parameters, FLOPs per clip, clips per second and memory.

    Weights are untrained and clips are random: neither changes the cost.
    """
    from mmcl_bench.inference.cost import Blueprint, measure
    from mmcl_bench.methods import METHODS
    from mmcl_bench.running.jobs import settings_of

    chosen = METHODS.get(method)
    own = settings_of(chosen, preset, options.key_values("--set", settings))
    subject = _subject(dataset, layout, classes, paths.data_root(data_root))
    dims = _feature_dims(chosen(**own).encoders(), subject.modalities)
    blueprint = Blueprint(method, subject.layout, subject.n_classes, own, dims, frames, bodies)
    with status(f"measuring {method}"):
        cost = measure(blueprint, batch, find_device(device))
    if as_json:
        about = {"method": method, "preset": preset, "settings": own, "layout": str(subject.layout)}
        teachers = {str(modality): dim for modality, dim in dims.items()}
        show_json({**about, "classes": subject.n_classes, "teachers": teachers, **cost.as_json()})
    else:
        show(_table(f"{method} ({preset}), {subject.layout}, {subject.n_classes} classes", dims, cost))


@dataclass(frozen=True)
class _Subject:
    """What of a data set decides a network's size."""

    layout: str | Layout
    n_classes: int
    modalities: frozenset[Modality] | None
    """None: not known, so all that the method asks for."""


def _subject(dataset: str | None, layout: str | None, classes: int | None, data_root: Path) -> _Subject:
    from mmcl_bench.datasets.readers import READERS
    from mmcl_bench.datasets.store import CARD, SkeletonDataset
    from mmcl_bench.protocols.dataset_facts import dataset_facts
    from mmcl_bench.skeleton.layouts import portable

    if dataset is None:
        return _Subject(portable(layout or DEFAULT_LAYOUT), classes or DEFAULT_CLASSES, None)
    if layout is not None:
        raise UserError(f"--layout {layout}: {dataset} has a layout of its own; leave out --layout or --dataset")
    if (data_root / dataset / CARD).is_file():
        card = SkeletonDataset.open(data_root / dataset).card
        return _Subject(card.layout, classes or len(card.classes), frozenset(card.modalities))
    facts = dataset_facts(dataset, data_root)
    return _Subject(portable(READERS.get(dataset).layout), classes or len(facts.class_texts), None)


def _feature_dims(encoders: Mapping[Modality, str], modalities: frozenset[Modality] | None) -> dict[Modality, int]:
    """The width of each teacher's features, from what its encoder makes of a blank image or a word."""
    from mmcl_bench.encoders import image_encoder, text_encoder
    from mmcl_bench.skeleton.clips import Modality

    dims: dict[Modality, int] = {}
    for modality, spec in encoders.items():
        if modalities is not None and modality not in modalities:
            continue
        if modality is Modality.RGB:
            from PIL import Image

            dims[modality] = image_encoder(spec).encode([Image.new("RGB", (96, 96))]).shape[1]
        else:
            dims[modality] = text_encoder(spec).encode(["yes"]).shape[1]
    return dims


def _table(title: str, dims: Mapping[Modality, int], cost: Cost) -> Table:
    from rich.table import Table
    from rich.text import Text

    from mmcl_bench.report.tables import count_text

    size, speed, memory = cost.complexity, cost.speed, cost.memory
    teachers = " and ".join(f"{modality} features of {dim}" for modality, dim in dims.items()) or "none"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")
    clip = f"{counted(size.n_bodies, 'body', 'bodies')}, {counted(size.n_frames, 'frame')}, {size.n_joints} joints"
    batch = f"batches of {speed.batch_size} on {speed.device}"
    threads = f"{batch}, {counted(speed.threads, 'CPU thread')}, median of {speed.repeats}"
    for row in (
        ("parameters", count_text(size.parameters), "of what scores"),
        ("training only", count_text(size.training_parameters), f"parameters besides; teachers: {teachers}"),
        ("FLOPs per clip", count_text(size.flops), f"to score {clip}; products and convolutions alone"),
        ("MACs per clip", count_text(size.macs), "multiply-accumulates, which many papers call FLOPs"),
        ("scoring", f"{speed.scoring:,.1f} clips/s", threads),
        ("training", f"{speed.training:,.1f} clips/s", "with backward pass and optimizer step"),
        ("scoring memory", _mebibytes(memory.scoring), f"beside weights and input; {memory.measured_by}"),
        ("training memory", _mebibytes(memory.training), f"likewise, batches of {memory.batch_size}"),
    ):
        table.add_row(*map(Text, row))
    return table


def _mebibytes(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.0f} MiB"
