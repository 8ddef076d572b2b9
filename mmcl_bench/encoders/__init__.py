"""Frozen feature extractors for text and images, and the cache of what they gave.

An encoder is named by a spec, ``family[:model][:weights path]``: ``minilm``, ``clip:ViT-B-32:/path/file.safetensors``,
``hf:<name or folder>``, ``efficientnet-lite0``, ``timm:resnet34``, ``torchvision:inception_v3``. Language models take
options behind it, ``smollm2[layer=20,pooling=last]``. A family is an
:class:`EncoderFamily` with a ``name``, in a file of this folder. Nothing is ever downloaded, and random weights are
never used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import Registry, declared_in
from mmcl_bench.encoders.options import TextOptions, split_options

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
    text: Callable[..., TextEncoder] | None = None
    """Makes a text encoder from what follows ``family:`` in the spec, and from its options where it takes some; raises
    :class:`UserError`."""
    text_options: ClassVar[TextOptions | None] = None
    """The options of its text encoders at their default; None: they take none."""
    image: Callable[[str], ImageEncoder] | None = None
    """Makes an image encoder from what follows ``family:`` in the spec; raises :class:`UserError`."""


_NO_TEXT = "encodes images, not text"
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
    plain, _ = split_options(spec)
    make, argument = _maker(plain, "text", _NO_TEXT)
    options = _options(spec)
    encoder: TextEncoder = make(argument) if options is None else make(argument, options)
    return encoder


def image_encoder(spec: str) -> ImageEncoder:
    """The image encoder that ``spec`` names. Raises :class:`UserError` when there is none."""
    make, argument = _maker(spec, "image", "encodes text, not images")
    encoder: ImageEncoder = make(argument)
    return encoder


def canonical_spec(spec: str) -> str:
    """The spec of a text encoder with its options sorted by name, without those at their default.

    >>> canonical_spec("smollm2[pooling=last,layer=20,centre=true]")
    'smollm2[layer=20,pooling=last]'

    Raises :class:`UserError` for what names no text encoder, and for an option that is unknown or does not fit.
    """
    plain, _ = split_options(spec)
    _maker(plain, "text", _NO_TEXT)
    options, defaults = _options(spec), _family(plain).text_options
    return spec if options is None or defaults is None else options.shown_behind(plain, defaults)


def centres(spec: str) -> bool:
    """Whether a text encoder subtracts the mean over the seen classes from the vectors of all."""
    options = _options(spec)
    return options is not None and options.centre


def _options(spec: str) -> TextOptions | None:
    """The options of a text encoder; None where it takes none. Raises :class:`UserError` for what does not fit."""
    plain, texts = split_options(spec)
    defaults = _family(plain).text_options
    if defaults is None and texts:
        able = [name for name in ENCODERS.names() if ENCODERS.get(name).text_options is not None]
        raise UserError(f"encoder {spec!r}: {plain} takes no options; those that do are {', '.join(able)}")
    return None if defaults is None else defaults.updated(spec, texts)


def _family(spec: str) -> type[EncoderFamily]:
    return ENCODERS.get(spec.partition(":")[0])


def _maker(spec: str, side: str, otherwise: str) -> tuple[Any, str]:
    """What makes encoders of a spec's family, and what follows the family in the spec."""
    family, _, argument = spec.partition(":")
    make = getattr(_family(spec), side)
    if make is None:
        able = [name for name in ENCODERS.names() if getattr(ENCODERS.get(name), side) is not None]
        raise UserError(f"encoder {spec!r}: {family} {otherwise}; choose one of {', '.join(able)}")
    return make, argument
