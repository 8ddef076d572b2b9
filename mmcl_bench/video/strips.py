"""Strips: some frames of a clip, evenly spread, the people in each cut out and joined left to right into one image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from mmcl_bench.datasets.formats.archive import BadFile
from mmcl_bench.video.decode import Sampled
from mmcl_bench.video.detectors import PersonDetector
from mmcl_bench.video.projection import ProjectedSkeletons

CROPS = 5
MARGIN = 0.15
"""Room around the joints of a body, as a share of its longer side: heads, hands and feet reach beyond the joints."""
DETECTED_MARGIN = 0.05
"""Room around a detected person, who is within the box."""
JPEG_QUALITY = 95

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; may reach beyond the image."""


@dataclass(frozen=True)
class StripForm:
    """The crops of a strip, in pixels each."""

    width: int = 128
    height: int = 224
    crops: int = CROPS


class Cropper(Protocol):
    """Says where to cut."""

    def boxes(self, sample_id: str, sampled: Sampled) -> list[Box] | None:
        """A box a frame; None where it cannot say. Raises :class:`BadFile` for a clip that is no good."""
        ...


@dataclass(frozen=True)
class WholeFrame:
    """Cuts nothing off."""

    def boxes(self, sample_id: str, sampled: Sampled) -> list[Box] | None:
        return [(0.0, 0.0, float(frame.shape[1]), float(frame.shape[0])) for frame in sampled.frames]


@dataclass(frozen=True)
class AroundSkeleton:
    """Around all bodies, where the skeletons say that they are in the colour image."""

    skeletons: ProjectedSkeletons

    def boxes(self, sample_id: str, sampled: Sampled) -> list[Box] | None:
        places = self.skeletons.places(sample_id)
        if places is None or not any(len(frame) for frame in places):
            return None
        # The sensor drops frames of the one or the other, so frames are matched by their share of the clip.
        last = max(sampled.n_frames - 1, 1)
        at = np.rint(sampled.numbers / last * (len(places) - 1)).astype(int)
        boxes: list[Box | None] = []
        for frame, row in zip(sampled.frames, nearest_with_any(places, at), strict=True):
            height, width = frame.shape[:2]
            box = box_around(places[row] * [width, height], MARGIN)
            boxes.append(box if _overlaps(box, width, height) else None)
        return filled(boxes)


@dataclass(frozen=True)
class AroundDetected:
    """Around the people that a detector finds."""

    detector: PersonDetector

    def boxes(self, sample_id: str, sampled: Sampled) -> list[Box] | None:
        found = self.detector.detect(sampled.frames)
        return filled([box_around(people.reshape(-1, 2), DETECTED_MARGIN) if len(people) else None for people in found])


@dataclass(frozen=True)
class FirstThatCan:
    """Asks one cropper after the other."""

    croppers: Sequence[Cropper]

    def boxes(self, sample_id: str, sampled: Sampled) -> list[Box] | None:
        for cropper in self.croppers:
            if (boxes := cropper.boxes(sample_id, sampled)) is not None:
                return boxes
        return None


def make_strip(sample_id: str, sampled: Sampled, cropper: Cropper, form: StripForm) -> bytes:
    """The JPEG of a strip. Raises :class:`BadFile` when nobody is found in any of the frames."""
    boxes = cropper.boxes(sample_id, sampled)
    if boxes is None:
        raise BadFile("shows nobody that could be cut out")
    strip = Image.new("RGB", (form.width * len(boxes), form.height))
    for at, (frame, box) in enumerate(zip(sampled.frames, boxes, strict=True)):
        _paste(strip, at * form.width, Image.fromarray(frame), of_shape(box, form.width / form.height), form)
    encoded = io.BytesIO()
    strip.save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return encoded.getvalue()


def box_around(points: np.ndarray, margin: float) -> Box:
    """Of points (n, 2), with ``margin`` as a share of the longer side on all sides."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    room = margin * max(right - left, bottom - top, 1.0)
    return left - room, top - room, right + room, bottom + room


def of_shape(box: Box, ratio: float) -> Box:
    """The smallest box of width / height ``ratio`` around a box, with the same middle."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    width, height = max(width, height * ratio), max(height, width / ratio)
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def nearest_with_any(places: Sequence[np.ndarray], at: np.ndarray) -> list[int]:
    """For each frame number the nearest frame that has a body."""
    having = np.array([frame for frame, found in enumerate(places) if len(found)])
    return [int(having[np.abs(having - number).argmin()]) for number in at]


def filled(boxes: Sequence[Box | None]) -> list[Box] | None:
    """The boxes, in the place of each that lacks the nearest one that is there; None when there is none at all."""
    having = [at for at, box in enumerate(boxes) if box is not None]
    if not having:
        return None
    nearest = [min(having, key=lambda other: abs(other - at)) for at in range(len(boxes))]
    return [box for at in nearest if (box := boxes[at]) is not None]


def _overlaps(box: Box, width: int, height: int) -> bool:
    left, top, right, bottom = box
    return left < width and top < height and right > 0 and bottom > 0


def _paste(strip: Image.Image, left: int, frame: Image.Image, box: Box, form: StripForm) -> None:
    """Scales what is in the box to a crop of the strip; beyond the frame it stays black."""
    x, y = form.width / (box[2] - box[0]), form.height / (box[3] - box[1])
    inside = max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(frame.width)), min(box[3], float(frame.height))
    first = round((inside[0] - box[0]) * x), round((inside[1] - box[1]) * y)
    end = round((inside[2] - box[0]) * x), round((inside[3] - box[1]) * y)
    size = max(end[0] - first[0], 1), max(end[1] - first[1], 1)
    strip.paste(frame.resize(size, Image.Resampling.BICUBIC, box=inside), (left + first[0], first[1]))
