"""Frozen feature extractors for text and images, and the cache of what they gave.

An encoder is named by a spec, ``family[:model][:weights path]``: ``minilm``, ``clip:ViT-B-32:/path/file.safetensors``,
``hf:<name or folder>``, ``efficientnet-lite0``, ``timm:resnet34``, ``torchvision:inception_v3``. A family is an
:class:`EncoderFamily` with a ``name``, in a file of this folder. Nothing is ever downloaded, and random weights are
never used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import Registry, declared_in

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


class _Encoder(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def weight_hash(self) -> str:
        """sha256 of the weights, in hex; known, as the name is, before they are loaded."""
        ...


class TextEncoder(_Encoder, Protocol):
    """A frozen sentence encoder."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, D), not normalised unless the model's own pooling does so."""
        ...


class ImageEncoder(_Encoder, Protocol):
    """A frozen image encoder."""

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        """float32 (N, D) pooled features of RGB images of any size, in their order."""
        ...


class EncoderFamily:
    """One way to make encoders, for text, for images or for both."""

    name: ClassVar[str]
    summary: ClassVar[str]
    usage: ClassVar[str]
    """How a spec of this family is written."""
    text: Callable[[str], TextEncoder] | None = None
    """Makes a text encoder from what follows ``family:`` in the spec; raises :class:`UserError`."""
    image: Callable[[str], ImageEncoder] | None = None
    """Makes an image encoder from what follows ``family:`` in the spec; raises :class:`UserError`."""


ENCODERS: Registry[type[EncoderFamily]] = Registry("encoder", "mmcl_bench.encoders", declared_in(__name__, __path__[0]))


def on_device(encoder: ImageEncoder, device: str, spec: str) -> ImageEncoder:
    """The encoder, which works on ``device``. Raises :class:`UserError` for one that works on the CPU alone."""
    if device != "cpu":
        if not hasattr(encoder, "device"):
            raise UserError(f"encoder {spec!r} works on the CPU alone; leave out --device {device}")
        encoder.device = device
    return encoder


def text_encoder(spec: str) -> TextEncoder:
    """The text encoder that ``spec`` names. Raises :class:`UserError` when there is none."""
    encoder: TextEncoder = _made(spec, "text", "encodes images, not text")
    return encoder


def image_encoder(spec: str) -> ImageEncoder:
    """The image encoder that ``spec`` names. Raises :class:`UserError` when there is none."""
    encoder: ImageEncoder = _made(spec, "image", "encodes text, not images")
    return encoder


def _made(spec: str, side: str, otherwise: str) -> Any:
    family, _, argument = spec.partition(":")
    make = getattr(ENCODERS.get(family), side)
    if make is None:
        able = [name for name in ENCODERS.names() if getattr(ENCODERS.get(name), side) is not None]
        raise UserError(f"encoder {spec!r}: {family} {otherwise}; choose one of {', '.join(able)}")
    return make(argument)
