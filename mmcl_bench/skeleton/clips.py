"""What a clip is made of: the tracks of its bodies, and the modalities beside them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Modality(StrEnum):
    SKELETON = "skeleton"
    RGB = "rgb"
    INSTRUCT = "instruct"


@dataclass(frozen=True)
class BodyTrack:
    """One tracked body: ``positions`` float32 (T, V, 3) in metres, y up, first seen in frame ``start`` of its clip.

    A frame within the track in which the body was not seen is all zeros; a single joint that was not seen is NaN, or
    zeros as in many published files: :meth:`.layouts.Layout.seen` tells.
    """

    start: int
    positions: np.ndarray
