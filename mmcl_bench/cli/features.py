"""``mmcl-bench features``: strips of video, answers of language models, and features for prepared data sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli.console import AsJson, opened, progress, show, show_json
from mmcl_bench.cli.data.listing import Name
from mmcl_bench.cli.options import DataRoot, Device, SkipBad
from mmcl_bench.core import paths

if TYPE_CHECKING:
    from mmcl_bench.datasets.store import SkeletonDataset
    from mmcl_bench.video.build import VideoSource

app = typer.Typer(help="Strips of video, answers and features that methods learn from.", no_args_is_help=True)


@app.command()
def build(
    name: Name,
    videos: Annotated[
        Path | None,
        typer.Option(help="Folder, zip, or folder of zips with a video a clip. None needed where the set has strips."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="How the files are called, such as {sample_id}_rgb.avi; the usual names when not given."),
    ] = None,
    skeletons: Annotated[
        Path | None,
        typer.Option(
            help="The .skeleton files of NTU RGB+D, or joints of JHMDB: people are cut out where these say they are."
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="A person detector for clips without such a file, as torchvision:MODEL[:WEIGHTS FILE] or hf:FOLDER."
        ),
    ] = None,
    crop: Annotated[
        str, typer.Option(help="person: cut people out, by --skeletons or --detector. none: keep whole frames.")
    ] = "person",
    size: Annotated[
        str | None, typer.Option(help="Of a crop in pixels; 128x224, or 256x144 for whole frames.", metavar="WxH")
    ] = None,
    encode: Annotated[
        list[str] | None,
        typer.Option(help="Image encoder to run over the strips now, such as torchvision:inception_v3. Repeatable."),
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option(
            help="Multimodal language model to ask: a folder, or a name in the local cache. Or imagenet-labels, a "
            "classifier that names what it sees."
        ),
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(help="What to ask about each strip; six questions of MMCL's form when not given. Repeatable."),
    ] = None,
    called: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Name of the model's features; by default its own.")
    ] = None,
    longest: Annotated[int, typer.Option(help="Tokens of an answer at most.", min=1)] = 48,
    batch: Annotated[int, typer.Option(help="Clips that go through a model together.", min=1)] = 1,
    device: Device = "cpu",
    skip_bad: SkipBad = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that decode; by default one a core, eight at most. Any number gives the same.", min=1
        ),
    ] = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Make strips of five frames from videos, encode them, and ask a language model about them.

    Stopped or killed, the same command goes on where it was. Nothing is downloaded.
    """
    from mmcl_bench.core.compute import find_device
    from mmcl_bench.core.errors import UserError

    if videos is None and not encode and ask is None:
        raise UserError("features build: give --videos to make strips, and --encode or --ask for what to do with them")
    root = paths.data_root(data_root)
    dataset = opened(name, root)
    device = find_device(device)
    if videos is not None:
        source = _source(videos, pattern, skeletons, detector, crop, size, device)
        dataset = _with_strips(dataset, source, skip_bad, workers)
    for spec in encode or []:
        _encode(dataset, spec, root / "cache", device, batch)
    if ask is not None:
        _ask(dataset, ask, tuple(instruction or ()), called, longest, batch, device, root / "cache")
    _show_list(dataset, root, as_json)


@app.command("import")
def import_features(
    name: Name,
    rgb: Annotated[
        Path | None,
        typer.Option(help="Folder of image features: SAMPLE_ID.npy each, or one matrix and sample_ids.txt."),
    ] = None,
    instruct: Annotated[
        Path | None, typer.Option(help="Folder of a language model's features, in the same form.")
    ] = None,
    called: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="What to call them; by default as their folder.")
    ] = None,
    skip_bad: SkipBad = False,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Put features that were computed elsewhere with a prepared data set, for use in the place of an encoder."""
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.datasets.additions import add_features
    from mmcl_bench.encoders.imported import read_features
    from mmcl_bench.skeleton.clips import Modality

    if rgb is None and instruct is None:
        raise UserError("features import: give --rgb FOLDER or --instruct FOLDER")
    root = paths.data_root(data_root)
    dataset = opened(name, root)
    sample_ids = dataset.index["sample_id"].tolist()
    for modality, folder in ((Modality.RGB, rgb), (Modality.INSTRUCT, instruct)):
        if folder is not None:
            found = read_features(folder, sample_ids, skip_bad)
            add_features(
                dataset,
                _stored_name(called or folder.resolve().name),
                modality,
                found.rows,
                found.features,
                found.lacking,
                {"imported": True},
            )
    _show_list(dataset, root, as_json)


@app.command("list")
def list_features(name: Name, data_root: DataRoot = None, as_json: AsJson = False) -> None:
    """Show strips, answers and features of a prepared data set, and how to train on them."""
    root = paths.data_root(data_root)
    _show_list(opened(name, root), root, as_json)


def _again(dataset: SkeletonDataset) -> SkeletonDataset:
    """The data set with what was added since it was opened."""
    from mmcl_bench.datasets.store import SkeletonDataset as Opened

    return Opened.open(dataset.folder)


def _source(
    videos: Path,
    pattern: str | None,
    skeletons: Path | None,
    detector: str | None,
    crop: str,
    size: str | None,
    device: str,
) -> VideoSource:
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.encoders.features import LONGEST_SIDE
    from mmcl_bench.video.build import VideoSource
    from mmcl_bench.video.strips import StripForm

    if crop not in ("person", "none"):
        raise UserError(f"--crop {crop}: unknown; choose person or none")
    cuts = skeletons is not None or detector is not None
    if cuts and crop == "none":
        raise UserError("--crop none keeps whole frames; leave out --skeletons and --detector")
    if not cuts and crop == "person":
        raise UserError("say how to find people: --skeletons, --detector or both, or --crop none for whole frames")
    match = re.fullmatch(r"([1-9]\d{1,3})x([1-9]\d{1,3})", size or ("128x224" if cuts else "256x144"))
    if match is None:
        raise UserError(f"--size {size}: expected two numbers of pixels from 10 to 9999, such as 128x224")
    form = StripForm(int(match[1]), int(match[2]))
    if max(form.crops * form.width, form.height) > LONGEST_SIDE:
        raise UserError(
            f"--size {size}: {form.crops} images side by side are {form.crops * form.width}x{form.height}; they may be "
            f"at most {LONGEST_SIDE} each way"
        )
    return VideoSource(videos, pattern, skeletons, detector, form, device)


def _with_strips(dataset: SkeletonDataset, source: VideoSource, skip_bad: bool, workers: int | None) -> SkeletonDataset:
    from mmcl_bench.video.build import build_strips

    with progress(f"strips of {dataset.card.name}", "clips") as advance:
        addition = build_strips(dataset, source, skip_bad, advance, workers)
    for sample_id, reason in addition.lacking.items():
        typer.echo(f"left out: the video of {sample_id} {reason}", err=True)
    return _again(dataset)


def _encode(dataset: SkeletonDataset, spec: str, cache_dir: Path, device: str, batch: int) -> None:
    from mmcl_bench.encoders.features import encode_strips

    with progress(f"{spec} on {dataset.card.name}", "clips") as advance:
        encode_strips(dataset, _rows_with_strips(dataset), spec, cache_dir, advance, device, batch)


def _ask(
    dataset: SkeletonDataset,
    model_name: str,
    instructions: tuple[str, ...],
    called: str | None,
    longest: int,
    batch: int,
    device: str,
    cache_dir: Path,
) -> None:
    """Puts the answers with the set, where it brings none of its own, and the mean pooled states as features."""
    import numpy as np

    from mmcl_bench.core.errors import UserError
    from mmcl_bench.datasets.additions import add_answers, add_features
    from mmcl_bench.encoders import image_labels
    from mmcl_bench.encoders.answers import INSTRUCTIONS, ask
    from mmcl_bench.encoders.multimodal import Asked, MultimodalModel
    from mmcl_bench.skeleton.clips import Modality

    model: Asked
    if model_name == image_labels.NAME:
        if instructions:
            raise UserError(f"--ask {model_name} names what it sees, whatever it is asked; leave out --instruction")
        model, instructions = image_labels.ImageLabels(device), (image_labels.QUESTION,)
    else:
        model, instructions = MultimodalModel(model_name, device, longest), instructions or INSTRUCTIONS
    name = _stored_name(called or model.name.removeprefix("hf:"))
    strips = dataset.card.addition("strips")
    lacking = {} if strips is None else strips.lacking
    sample_ids = dataset.index["sample_id"].tolist()
    rows, features, answers = [], [], []
    with progress(f"{model.name} on {dataset.card.name}", "clips") as advance:
        for clip in ask(dataset, _rows_with_strips(dataset), model, instructions, cache_dir, batch, advance):
            rows.append(clip.row)
            features.append(np.mean([answer.pooled for answer in clip.answers], axis=0, dtype=np.float32))
            answers += [
                (sample_ids[clip.row], instruction, answer.text)
                for instruction, answer in zip(instructions, clip.answers, strict=True)
            ]
    made = {"model": model.identity(), "instructions": list(instructions)}
    if strips is not None:
        made["strips"] = strips.sha256
    if not dataset.card.brings(Modality.INSTRUCT):
        add_answers(dataset, answers, lacking, made)
    add_features(dataset, name, Modality.INSTRUCT, np.array(rows), np.stack(features), lacking, made)


def _rows_with_strips(dataset: SkeletonDataset) -> list[int]:
    """Raises :class:`UserError` for a set without strips."""
    from mmcl_bench.encoders.features import require_modality
    from mmcl_bench.skeleton.clips import Modality

    require_modality(dataset, Modality.RGB)
    strips = dataset.card.addition("strips")
    lacking = {} if strips is None else strips.lacking
    return [row for row, sample_id in enumerate(dataset.index["sample_id"]) if sample_id not in lacking]


def _stored_name(text: str) -> str:
    """A name for a spec and a file."""
    from mmcl_bench.core.errors import UserError

    name = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60]
    if not name:
        raise UserError(f"--as {text!r} cannot name features; use letters, digits and dashes")
    return name


def _show_list(dataset: SkeletonDataset, root: Path, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from mmcl_bench.video.listing import list_features as listed

    lines = listed(_again(dataset), root / "cache")
    if as_json:
        show_json(lines)
        return
    table = Table()
    if {line["kind"] for line in lines} == {"strips"}:
        table.caption = Text(
            "strips are pictures; make features of them with "
            f"mmcl-bench features build {dataset.card.name} --encode efficientnet-lite0"
        )
    for column in ("kind", "name", "modality", "clips", "lacking", "numbers", "train with --set"):
        table.add_column(column, no_wrap=column in ("name", "train with --set"))
    for line in lines:
        table.add_row(
            line["kind"],
            Text(line["name"]),
            line["modality"],
            str(line["clips"]),
            str(len(line["lacking"])),
            "" if line["numbers"] is None else str(line["numbers"]),
            Text(line["use"]),
        )
    if lines:
        show(table, spare=["modality", *([] if any(line["lacking"] for line in lines) else ["lacking"])])
    else:
        typer.echo(f"{dataset.card.name} has skeletons alone; see mmcl-bench features build --help")
