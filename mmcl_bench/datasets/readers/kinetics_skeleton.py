"""Kinetics-skeleton: OpenPose on the clips of Kinetics-400, as ST-GCN's authors publish it, one JSON file a clip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, RootModel

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.formats.archive import Archive, BadFile, base_name
from mmcl_bench.datasets.formats.checked_json import read_json
from mmcl_bench.datasets.readers import OnBad, Reader, Settings, Unit, WholeCopy, folds_of_the_files, require_once
from mmcl_bench.datasets.store import Clip, Side
from mmcl_bench.skeleton.dense import tracks_of

N_JOINTS, N_CLASSES = 18, 400
ASPECT = 340 / 256
"""Width to height of the videos, which were resized to 340 x 256 whatever they had been (S. Yan et al., AAAI 2018)."""
BODIES_RANKED = 5
"""ST-GCN ranks the first five bodies that a frame lists; the others are never seen."""
LAST_FRAME = 10_000
"""The longest published clip has 300 frames."""
_CLIP = r"^[A-Za-z0-9_-]{1,64}$"
"""Clips are called as their videos were on YouTube."""
FOLDS: Mapping[Literal["train", "val"], int] = {"train": 1, "val": 2}

PUBLISHED = 240_436, 19_796
"""Training and test clips that are listed to have a skeleton, those that ST-GCN trains and tests on."""


class KineticsSkeletonSettings(Settings):
    bodies: int = Field(2, ge=1, le=BODIES_RANKED)
    """How many bodies of a frame are kept, the most confident first."""


class _Json(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class _Skeleton(_Json):
    pose: Annotated[list[float], Field(min_length=2 * N_JOINTS, max_length=2 * N_JOINTS)]
    """x to the right and y down of each joint, as shares of the width and the height of the image."""
    score: Annotated[list[float], Field(min_length=N_JOINTS, max_length=N_JOINTS)]
    """Confidence of each joint; 0 or less where it was not seen."""


class _Frame(_Json):
    frame_index: int = Field(ge=0, le=LAST_FRAME)
    skeleton: list[_Skeleton]


class _Video(_Json):
    data: list[_Frame]
    label_index: int


class _Listed(_Json):
    has_skeleton: bool
    label_index: int = Field(ge=0, lt=N_CLASSES)


class _LabelFile(RootModel[dict[Annotated[str, Field(pattern=_CLIP)], _Listed]]):
    """By clip."""


class KineticsSkeleton(Reader):
    """Joints in the image, in image heights from its middle: x to the right, y up, z 0.

    Nobody published who is who: body k of a frame is the k-th most confident one, as ST-GCN ranks them.
    """

    name = "kinetics-skeleton"
    title = "Kinetics-skeleton"
    recording = "clip"
    layout = "openpose-18"
    unit = "image"
    class_table = "kinetics-400"
    frame_rate = 30.0
    sides: ClassVar[Mapping[str, Side]] = {
        "official": folds_of_the_files(
            "the folders kinetics_train and kinetics_val; S. Yan, Y. Xiong, D. Lin, AAAI 2018"
        )
    }
    default_side = "official"
    homepage = "https://github.com/yysijie/st-gcn"
    citation = (
        "S. Yan, Y. Xiong, D. Lin: Spatial Temporal Graph Convolutional Networks for Skeleton-Based Action "
        "Recognition. AAAI 2018; W. Kay et al.: The Kinetics Human Action Video Dataset (arXiv 1705.06950)"
    )
    settings_model = KineticsSkeletonSettings
    settings: KineticsSkeletonSettings

    def whole_copy(self) -> WholeCopy:
        return WholeCopy(sum(PUBLISHED), sides={"official": PUBLISHED})

    def units(self, archive: Archive) -> list[Unit]:
        return [unit for part in FOLDS for unit in self._units(archive, part)]

    def _units(self, archive: Archive, part: Literal["train", "val"]) -> Iterator[Unit]:
        """Those of one side, without the clips that are listed to have no skeleton."""
        folder = f"kinetics_{part}"
        found = sorted(
            (path.stem, path.as_posix())
            for path in map(PurePosixPath, archive.names())
            if path.suffix == ".json" and path.parent.name == folder and re.fullmatch(_CLIP, path.stem)
        )
        if not found:
            raise self.lacking(archive, f"no folder {folder} of JSON files")
        require_once(archive, found)
        files = dict(found)
        listed = self._listed(archive, f"{folder}_label.json")
        for clip in sorted({*files, *listed}):
            known = listed.get(clip)
            if known is None or known.has_skeleton:
                label = known.label_index if known else None
                yield Unit(files.get(clip, f"{folder}/{clip}.json"), (FOLDS[part], label, clip in files))

    def _listed(self, archive: Archive, name: str) -> dict[str, _Listed]:
        """What the label file ``name`` says of clips. Raises :class:`UserError` when it cannot be read."""
        file = next((file for file in archive.names() if base_name(file) == name), None)
        if file is None:
            raise UserError(f"{archive.source}: holds no {name}; it comes with the clips, put it beside them")
        try:
            return read_json(_LabelFile, archive.read(file)).root
        except BadFile as error:
            raise UserError(f"{archive.source}: {file} {error}; download it again") from error

    def clips(self, archive: Archive, unit: Unit, on_bad: OnBad) -> Iterator[Clip]:
        fold, label, is_there = unit.detail
        if not is_there:
            raise BadFile("is not there, though the label file says that it has skeletons")
        if label is None:
            raise BadFile("is not in the label file of its folder")
        video = read_json(_Video, archive.read(unit.file))
        if video.label_index != label:
            raise BadFile(f"has label {video.label_index}, and {label} in the label file of its folder")
        # What overflows becomes infinite, and clip_fault finds it.
        with np.errstate(over="ignore"):
            bodies = self._bodies(video.data)
        yield Clip(
            sample_id=PurePosixPath(unit.file).stem,
            label=label,
            subject=0,
            fold=fold,
            n_frames=bodies.shape[1],
            bodies=tracks_of(bodies),
            file=unit.file,
        )

    def _bodies(self, frames: list[_Frame]) -> np.ndarray:
        """(M, T, 18, 3) from the first frame that is listed to the last."""
        numbers = [frame.frame_index for frame in frames]
        if not numbers:
            raise BadFile("has no frames")
        if len(set(numbers)) < len(numbers):
            raise BadFile("has two frames of one number")
        listed = [(frame.frame_index, body) for frame in frames for body in frame.skeleton[:BODIES_RANKED]]
        frame_of = np.array([number for number, _ in listed], dtype=np.int64) - min(numbers)
        score = np.array([body.score for _, body in listed]).reshape(-1, N_JOINTS)
        pose = np.array([body.pose for _, body in listed]).reshape(-1, N_JOINTS, 2)
        rank = _ranks(frame_of, score.sum(axis=1))
        kept = rank < self.settings.bodies
        bodies = np.zeros((self.settings.bodies, max(numbers) - min(numbers) + 1, N_JOINTS, 3))
        bodies[rank[kept], frame_of[kept]] = _positions(pose, score)[kept]
        return bodies


def _ranks(frame_of: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """(N,): how many bodies of its frame are more confident than each; of equal ones the first listed counts more."""
    order = np.lexsort((-confidence, frame_of))
    by_frame = frame_of[order]
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.searchsorted(by_frame, by_frame)
    return ranks


def _positions(pose: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(N, 18, 3) in image heights from the middle of the image, y up; zeros for a joint that was not seen."""
    positions = np.zeros((len(pose), N_JOINTS, 3))
    positions[..., 0] = (pose[..., 0] - 0.5) * ASPECT
    positions[..., 1] = 0.5 - pose[..., 1]
    positions[score <= 0] = 0
    return positions
