"""Transfer between the synthetic stand-ins of the fixture ``transfer_data_root``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmcl_bench.core.grants import Setting
from mmcl_bench.datasets.store import Clip, SkeletonDataset
from mmcl_bench.protocols import PROTOCOLS
from mmcl_bench.protocols.base import Needs, Protocol
from mmcl_bench.protocols.catalogue import load_task
from prepared import write_dataset

ONE = "transfer/nw-ucla-to-utd-mhad[shots=1]"
BY_TEXTS = "transfer/hdm05-and-nw-ucla-and-utkinect-to-utd-mhad[classes=texts,fields=label]"
SHARED = {4: "throw", 22: "walk", 23: "stand up", 24: "sit down"}
"""UTD-MHAD's labels of the classes that it shares with NW-UCLA."""


def rules(root: Path, name: str, setting: Setting = Setting.INDUCTIVE, seed: int = 0) -> Protocol:
    """The protocol of a task on the data sets there."""
    task = load_task(name, root)
    data = {dataset: SkeletonDataset.open(root / dataset) for dataset in task.datasets}
    return PROTOCOLS.get(task.protocol)(task, data, Needs(setting=setting, seed=seed), root / "cache")


def with_noise(root: Path, folder: Path) -> Path:
    """The same sets with UTD-MHAD's labels of :data:`SHARED` classes mixed up: each clip gets another one's."""
    (root / "cache").mkdir(exist_ok=True)
    for name in ("nw-ucla", "utkinect", "hdm05", "cache"):
        (folder / name).symlink_to(root / name)
    target = SkeletonDataset.open(root / "utd-mhad")
    labels = target.index.label.to_numpy().copy()
    shared = np.flatnonzero(np.isin(labels, list(SHARED)))
    labels[shared] = np.roll(labels[shared], 5)
    clips = [
        Clip(row.sample_id, int(labels[at]), row.subject, row.n_frames, target.bodies(at), camera=row.camera)
        for at, row in enumerate(target.index.itertuples())
    ]
    write_dataset(folder / "utd-mhad", clips, 20, target.card)
    return folder
