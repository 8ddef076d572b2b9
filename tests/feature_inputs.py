"""What ``mmcl-bench features`` is given: tiny synthetic videos, models with random weights, others' features."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.datasets.writers.ntu_skeleton import skeleton_text
from mmcl_bench.skeleton.clips import BodyTrack
from videos import walk, write_video


def write(words: Sequence[str], dataset: SkeletonDataset) -> None:
    """Makes what the options of a command name, where it is not there yet; paths are relative to the working folder."""
    for option, value in pairwise(words):
        path = Path(value)
        if option == "--videos" and not path.exists():
            write_videos(path, dataset.index["sample_id"])
        elif option == "--skeletons" and not path.exists():
            write_skeletons(path, dataset)
        elif option == "--encode":
            _, model, weights = value.split(":")
            write_image_model(model, Path(weights))
        elif option == "--ask" and not path.exists():
            import tiny_multimodal

            tiny_multimodal.write("blip-vqa", path)
        elif option in ("--rgb", "--instruct") and not path.exists():
            write_features(path, dataset.index["sample_id"])


def write_videos(folder: Path, sample_ids: Sequence[str], ending: str = "_rgb.avi") -> None:
    """A video a clip; the colour of who walks in it tells the clips apart."""
    for at, sample_id in enumerate(sample_ids):
        write_video(folder / f"{sample_id}{ending}", walk(6, (255 - at % 100, 40 + at % 7 * 20, 40)))


def write_skeletons(path: Path, dataset: SkeletonDataset) -> None:
    """The clips of a set as ``.skeleton`` files in a zip, three metres before the camera."""
    with zipfile.ZipFile(path, "w") as zipped:
        for row, (sample_id, n_frames) in enumerate(dataset.index[["sample_id", "n_frames"]].itertuples(index=False)):
            moved = [
                BodyTrack(body.start, body.positions[:, np.arange(25) % body.positions.shape[1]] / 4 + [0, 0, 3])
                for body in dataset.bodies(row)
            ]
            zipped.writestr(f"{sample_id}.skeleton", skeleton_text(int(n_frames), moved))


def write_image_model(name: str, path: Path) -> None:
    import torch
    import torchvision

    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)


def write_features(folder: Path, sample_ids: Sequence[str], size: int = 8) -> None:
    folder.mkdir(parents=True)
    for at, sample_id in enumerate(sample_ids):
        np.save(folder / f"{sample_id}.npy", np.random.default_rng(at).normal(size=size).astype(np.float32))
