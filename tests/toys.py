"""Prepared synthetic stand-ins for real data sets: their names, layouts, classes and sides, none of their data."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_bench.datasets.classes import class_texts
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import Clip, DatasetCard, Side
from mmcl_bench.skeleton.clips import BodyTrack, Modality
from mmcl_bench.skeleton.layouts import get_layout
from prepared import write_dataset


def toy_clip(salt: int, label: int, subject: int, camera: int, joints: int) -> Clip:
    """A synthetic clip whose right side swings at a rate and height that tell its class."""
    generator = np.random.default_rng([salt, label, subject, camera])
    stance = np.random.default_rng(7).normal(size=(joints, 3)).astype(np.float32)
    frames = np.arange(14)
    swing = np.sin(frames * (0.2 + 0.07 * label))[:, None] * np.linspace(0, 1, joints)[None, :]
    positions = np.repeat(stance[None], len(frames), axis=0)
    positions[..., 1] += swing * (1 + label % 3)
    positions += generator.normal(scale=0.05, size=positions.shape)
    return Clip(
        sample_id=f"a{label:02d}_s{subject:02d}_v{camera:02d}",
        label=label,
        subject=subject,
        camera=camera,
        n_frames=len(frames),
        bodies=(BodyTrack(0, positions),),
    )


def _salt(name: str) -> int:
    """Of its own for each set, as no two may share clips. Stored results know NW-UCLA's."""
    return 7 if name == "nw-ucla" else sum(name.encode())


def write_toy(root: Path, name: str, n_classes: int, subjects: int, cameras: int) -> None:
    """A prepared synthetic stand-in for a real set: its name, layout, classes and sides, none of its data."""
    n_joints = len(get_layout(READERS.get(name).layout))
    clips = [
        toy_clip(_salt(name), label, subject, camera, n_joints)
        for label, subject, camera in product(range(n_classes), range(1, subjects + 1), range(1, cameras + 1))
    ]
    write_dataset(root / name, clips, n_joints, toy_card(name))


def write_toy_for_every_side(root: Path, name: str) -> None:
    """A prepared synthetic stand-in with clips of every class on both sides of every side of the set."""
    reader, card = READERS.get(name), toy_card(name)
    n_joints = len(get_layout(reader.layout))
    clips = []
    for label, number in product(range(len(card.classes)), range(6)):
        numbers = {"subject": number, "camera": 1, "setup": 1, "fold": 0}
        for side in reader.sides.values():
            values = side.test if number % 2 else side.train
            numbers[side.column] = values[number // 2 % len(values)]
        clip = toy_clip(_salt(name), label, number, 1, n_joints)
        clips.append(replace(clip, **numbers))
    write_dataset(root / name, clips, n_joints, card)


def tiny_card(**changes: Any) -> DatasetCard:
    """The card of a synthetic set of a few clips that no reader knows."""
    card: dict[str, Any] = {
        "name": "tiny",
        "reader": "tiny",
        "title": "Tiny (synthetic)",
        "synthetic": True,
        "layout": "kinect-v1",
        "class_table": "tiny",
        "classes": ("sit", "stand"),
        "sides": {"x-sub": Side(column="subject", train=(1,), test=(2,), source="test")},
        "default_side": "x-sub",
        "frame_rate": None,
        "modalities": (Modality.SKELETON,),
        "homepage": "",
        "citation": "",
        "fingerprint": "",
        "n_clips": 0,
    }
    return DatasetCard(**{**card, **changes})


def toy_card(name: str) -> DatasetCard:
    reader = READERS.get(name)
    return tiny_card(
        name=name,
        reader=name,
        reader_version=reader.version,
        title=f"{name} stand-in (synthetic)",
        layout=reader.layout,
        unit=reader.unit,
        class_table=reader.class_table,
        classes=class_texts(reader.class_table).names,
        sides=dict(reader.sides),
        default_side=reader.default_side,
        homepage="made by the tests",
        citation="synthetic",
    )
