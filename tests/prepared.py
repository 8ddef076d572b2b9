"""Prepared data sets of clips that a test makes, without files that a reader would read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from mmcl_bench.datasets.parts import Part, put_together
from mmcl_bench.datasets.store import Clip, DatasetCard, SkeletonDataset


def write_dataset(
    folder: Path,
    clips: Iterable[Clip],
    n_joints: int,
    describe: DatasetCard,
) -> SkeletonDataset:
    """Writes clips that come in any order as a prepared data set, as :func:`put_together` does."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.part-") as draft:
        part = Part(Path(draft) / "only")
        part.write(clips, describe, n_joints, [])
        return put_together(folder, [part], n_joints, describe)
