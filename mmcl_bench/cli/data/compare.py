"""``mmcl-bench data compare``: how far apart two prepared sets are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli.console import AsJson, opened, show, show_json, status
from mmcl_bench.cli.options import DataRoot, Device, Results
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from rich.table import Table

    from mmcl_bench.protocols.domain_shift.measures import ClassClips, Distance, DomainShift, SetFacts, Spread
    from mmcl_bench.protocols.problem import ClipView

_SHOWN = 3
"""Bones, and shared classes, of the table: those that differ most."""


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Name of a prepared data set, such as the source.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Name of another, such as the target.")],
    limit: Annotated[
        int, typer.Option(help="Clips of each set whose poses are measured, drawn at random.", min=10, max=5000)
    ] = 1000,
    features: Annotated[
        str,
        typer.Option(
            help="What distances are measured on: joints, or a finished job of skeleton-only, whose network's features "
            "are compared: its folder, the start of its hash, or its task.",
        ),
    ] = "joints",
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Write bone lengths, clip lengths, headings and features of both sets as PNG to this file.",
            dir_okay=False,
        ),
    ] = None,
    device: Device = "auto",
    data_root: DataRoot = None,
    results: Results = None,
    as_json: AsJson = False,
) -> None:
    """Measure how two prepared data sets differ: people, frames, bones, orientation, classes, and features.

    The skeletons of B are mapped to the joint layout of A, as in transfer from A to B.
    """
    if picture is not None and picture.suffix.lower() != ".png":
        raise UserError(f"--picture {picture}: is written as PNG; choose a name that ends in .png")

    from mmcl_bench.protocols.domain_shift.measures import compare as measure
    from mmcl_bench.protocols.domain_shift.words import stands_out

    root = paths.data_root(data_root)
    sets = [opened(name, root) for name in (first, second)]
    kind, featured = _features(features, paths.results_root(results), device)
    with status(f"measuring {first} and {second}"):
        shift = measure(sets, root, featured, limit)
    if picture is not None:
        from mmcl_bench.protocols.domain_shift.picture import write_picture

        write_picture(shift, picture)
    sentences = list(stands_out(shift))
    if as_json:
        show_json({"features": kind, **shift.as_json(), "stands_out": sentences})
    else:
        show(_table(shift))
        show(_distances(shift, kind))
        for sentence in sentences:
            typer.echo(sentence)
    if picture is not None:
        typer.echo(picture, err=as_json)


def _features(wanted: str, results: Path, device: str) -> tuple[str, Callable[[ClipView], np.ndarray]]:
    """What is compared, in words, and what computes it."""
    if wanted == "joints":
        from mmcl_bench.methods.shared.joints import joint_features

        return wanted, lambda clips: joint_features(clips, 1)

    from mmcl_bench.core.compute import find_device
    from mmcl_bench.inference.features import network_features
    from mmcl_bench.inference.predict import find_job

    stored = find_job(results, wanted, "skeleton-only")
    record = stored.result
    network = f"the network of job {record.job_hash[:12]} ({record.task.identity}, seed {record.seed})"
    return network, network_features(stored, find_device(device))


def _table(shift: DomainShift) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    sets = shift.first, shift.second
    table = Table("", box=box.SIMPLE)
    for each in sets:
        table.add_column(Text(each.summary["name"]))
    for (what, first), (_, second) in zip(*map(_cells, sets), strict=True):
        table.add_row(what, Text(first), Text(second))
    bones = shift.first.poses.bones
    for bone in sorted(bones, key=lambda bone: -abs(shift.second.poses.bones[bone] - bones[bone]))[:_SHOWN]:
        table.add_row(Text(f"{bone}, of the torso"), *(f"{each.poses.bones[bone]:.2f}" for each in sets))
    shared = shift.shared_classes
    in_shared = f"clips of {counted(len(shared), 'shared class', 'shared classes')}"
    table.add_row(in_shared, *(f"{sum(counts):,}" for counts in _by_set(shared)))
    totals = [max(1, sum(counts)) for counts in _by_set(shared)]
    for entry in sorted(shared, key=lambda entry: -abs(entry.first / totals[0] - entry.second / totals[1]))[:_SHOWN]:
        table.add_row(Text(f"clips of {entry.name}"), f"{entry.first:,}", f"{entry.second:,}")
    return table


def _by_set(shared: Sequence[ClassClips]) -> tuple[list[int], list[int]]:
    return [each.first for each in shared], [each.second for each in shared]


def _cells(facts: SetFacts) -> Iterator[tuple[str, str]]:
    """(what, figure) by row."""
    summary, poses = facts.summary, facts.poses
    unit = " m" if facts.unit == "metres" else " image heights"
    yield "data", "synthetic" if summary["synthetic"] else "recorded"
    yield "clips", f"{summary['clips']:,}"
    yield "classes", str(summary["classes"])
    yield "subjects", str(summary["subjects"] or "not told apart")
    yield "bodies a clip", ", ".join(f"{n} in {clips:,}" for n, clips in summary["bodies"].items())
    yield "joint layout", f"{summary['layout']} ({summary['joints']} joints)"
    yield "frames a second", f"{facts.frame_rate:g}" if facts.frame_rate else "unknown"
    yield "frames a clip", _spread(facts.frames, 0)
    yield "seconds a clip", _spread(facts.seconds, 1) if facts.seconds else "unknown"
    yield "clips whose poses are measured", f"{poses.clips:,}"
    yield "torso length", _spread(poses.torso, 2) + unit
    yield "distance from the origin", _spread(poses.distance, 1) + unit
    yield "up", poses.up
    yield "torso from upright", _spread(poses.lean, 0) + " degrees"
    turned = poses.heading is not None and poses.heading_agreement is not None
    yield "turned about the vertical", f"{poses.heading:z.0f} degrees" if turned else "unknown"
    yield "agreement of headings", f"{poses.heading_agreement:.2f}" if turned else "unknown"
    yield "frames without anybody", f"{poses.empty_frames:.1%}"
    yield "joints not seen", f"{poses.unseen_joints:.1%}"


def _spread(spread: Spread, decimals: int) -> str:
    low, median, high = (f"{each:,.{decimals}f}" for each in (spread.low, spread.median, spread.high))
    return f"{median} ({low} to {high})"


def _distances(shift: DomainShift, kind: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "clips", "proxy A-distance", "tested on", "squared MMD", box=box.SIMPLE)
    table.title = Text(f"Distance by {kind}")
    _add_distance(table, "all classes", shift.all_clips)
    if shift.same_classes is not None:
        _add_distance(table, "shared classes, equally many clips of each", shift.same_classes)
    return table


def _add_distance(table: Table, what: str, distance: Distance) -> None:
    clips = " and ".join(f"{count:,}" for count in distance.clips)
    tested_on = "other people" if all(distance.by_person) else "other clips"
    table.add_row(what, clips, f"{distance.proxy_a:.2f}", tested_on, f"{distance.squared_mmd:z.3f}")
