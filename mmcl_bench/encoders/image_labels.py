"""The ImageNet classes that a classifier sees, as an answer: what can be had of RGB in words without a language model.

EfficientNet-Lite0 with the classifier of its package, over the pooled features of
:class:`.efficientnet_lite0.EfficientNetLite0`. The answer names objects, not people or what they do, since ImageNet's
classes are objects and animals: a stand-in for a multimodal language model, and no such model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from mmcl_bench.encoders.efficientnet_lite0 import EfficientNetLite0, packaged_state
from mmcl_bench.encoders.multimodal import Answer

if TYPE_CHECKING:
    from PIL import Image

NAME = "imagenet-labels"
NAMED = 5
"""Classes in an answer."""
QUESTION = "What does the picture show?"


class ImageLabels:
    """Answers with the names of the likeliest classes, the likeliest first; what is asked is not read."""

    name = NAME

    def __init__(self, device: str = "cpu") -> None:
        self._encoder = EfficientNetLite0()
        self._encoder.device = device

    def identity(self) -> dict[str, str]:
        """What an answer follows from beside the image."""
        return {"encoder": self.name, "weights": self._encoder.weight_hash, "named": str(NAMED)}

    def ask(self, images: Sequence[Image.Image], instruction: str) -> list[Answer]:
        """The answer about each RGB image. It has no tokens; what is pooled are the probabilities (1000,)."""
        weight, bias = self._classifier
        shares = softmax(self._encoder.encode(images) @ weight.T + bias, axis=1).astype(np.float32)
        none = np.empty((0, shares.shape[1]), dtype=np.float32)
        return [Answer(", ".join(self._names[at] for at in np.argsort(-own)[:NAMED]), none, own) for own in shares]

    @cached_property
    def _classifier(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 (1000, 1280) and (1000,)"""
        state = packaged_state()
        return state["_fc.weight"].numpy(), state["_fc.bias"].numpy()

    @cached_property
    def _names(self) -> list[str]:
        """The first name of each class."""
        from timm.data import ImageNetInfo

        info = ImageNetInfo()
        return [info.index_to_description(at).partition(",")[0] for at in range(info.num_classes())]
