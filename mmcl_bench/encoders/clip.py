"""CLIP by open_clip, for text and for images, from a weights file or from the local cache of open_clip's own files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.images import encode_windows, to_tensor
from mmcl_bench.encoders.weights import WeightsFile, cached_hub_file, is_torchscript, read_state_dict, unknown_model

if TYPE_CHECKING:
    import torch
    from PIL import Image

TEXT_BATCH = 32
OPENAI_MARKS = frozenset({"input_resolution", "context_length", "vocab_size"})
"""Entries beside the weights in the state dicts of OpenAI's archives; open_clip drops them when it loads one."""
URL_CACHE = Path("~/.cache/clip")
"""Where open_clip and OpenAI's own package keep what they have downloaded."""


class _ClipEncoder(WeightsFile):
    family, library = "clip", "open_clip"

    def _downloaded(self) -> Path:
        return cached_weights(self._model_name)

    @cached_property
    def _tag(self) -> Mapping[str, Any]:
        """What open_clip knows of the weights file; empty for one that it does not know."""
        return known_tag(self._model_name, self._weights, self.weight_hash)

    @cached_property
    def _model(self) -> Any:
        """In evaluation mode. OpenAI's weights, and others trained so, get the QuickGELU they were trained with."""
        import open_clip

        require_builtin_tower(self._model_name, ("hf_model_name",))
        state = self._state_dict()
        quick_gelu = bool(self._tag.get("quick_gelu")) or state.keys() >= OPENAI_MARKS
        with _no_warning_of_random_weights():
            model = open_clip.create_model(
                self._model_name, load_weights=False, pretrained_text=False, force_quick_gelu=quick_gelu
            ).eval()
        tensors = {name: value for name, value in state.items() if name not in OPENAI_MARKS}
        if "positional_embedding" in tensors and not hasattr(model, "positional_embedding"):
            from open_clip.model import convert_to_custom_text_state_dict

            tensors = convert_to_custom_text_state_dict(tensors)
        for name in tensors.keys() & {"logit_scale", "logit_bias"}:
            tensors[name] = tensors[name].reshape(())
        self._load(model, tensors)
        return model

    def _state_dict(self) -> dict[str, torch.Tensor]:
        if is_torchscript(self._weights) and self.weight_hash in str(self._tag.get("url", "")):
            import torch

            # Its sha256 is the one that OpenAI publishes, so the code inside is theirs.
            return dict(torch.jit.load(self._weights, map_location="cpu").state_dict())
        return read_state_dict(self._weights)


class ClipTextEncoder(_ClipEncoder):
    """The text tower, projected into the joint space; a text is cut after the tower's own length (77 tokens)."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, D), not normalised."""
        import torch

        tokens = self._tokenizer(list(texts))
        with torch.inference_mode():
            encoded = [self._model.encode_text(batch).float().numpy() for batch in tokens.split(TEXT_BATCH)]
        return np.concatenate(encoded)

    @cached_property
    def _tokenizer(self) -> Any:
        import open_clip

        require_builtin_tower(self._model_name, ("hf_model_name", "hf_tokenizer_name"))
        return open_clip.get_tokenizer(self._model_name)


class ClipImageEncoder(_ClipEncoder):
    """The image tower, projected into the joint space. Its input is square: features of square windows are averaged."""

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        """float32 (N, D) features of RGB images of any size, in their order; not normalised."""
        return encode_windows(list(images), self._prepare, self._model.to(self.device).encode_image, self.device)

    def _prepare(self, window: Image.Image) -> torch.Tensor:
        from PIL import Image

        size = self._model.visual.image_size
        height, width = (size, size) if isinstance(size, int) else size
        preprocessing = self._tag or next(tags(self._model_name), {})
        resample = Image.Resampling[str(preprocessing.get("interpolation", "bicubic")).upper()]
        mean, std = preprocessing.get("mean", _OPENAI_MEAN), preprocessing.get("std", _OPENAI_STD)
        return to_tensor(window.convert("RGB").resize((width, height), resample), mean, std)


_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@contextmanager
def _no_warning_of_random_weights() -> Iterator[None]:
    """open_clip warns of a network without weights, through the root logger; ours are loaded right after it."""

    def keep(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No pretrained weights loaded")

    logging.getLogger().addFilter(keep)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(keep)


def tags(architecture: str) -> Iterator[Mapping[str, Any]]:
    """What open_clip knows of each published file of an architecture, OpenAI's own first."""
    from open_clip import get_pretrained_cfg, list_pretrained_tags_by_model

    for tag in sorted(list_pretrained_tags_by_model(architecture), key=lambda tag: tag != "openai"):
        yield get_pretrained_cfg(architecture, tag)


def known_tag(architecture: str, path: Path, sha256: str) -> Mapping[str, Any]:
    """The published file that ``path`` is: by sha256 as its address gives it, or by its place in the cache."""
    for tag in tags(architecture):
        address = str(tag.get("url", ""))
        published_hash = (
            address.split("/")[-2] if "openaipublic" in address else address.rpartition("-")[2].split(".")[0]
        )
        if len(published_hash) >= 8 and sha256.startswith(published_hash):
            return tag
        if path == _in_cache(tag):
            return tag
    return {}


def cached_weights(architecture: str) -> Path:
    """The file of an architecture that open_clip has downloaded before, OpenAI's own first.

    Raises :class:`UserError` when there is none, and for an architecture that open_clip does not know.
    """
    import open_clip

    if architecture not in open_clip.list_models():
        raise UserError(unknown_model("clip", architecture, open_clip.list_models()))
    for tag in tags(architecture):
        if (found := _in_cache(tag)) is not None:
            return found
    raise UserError(
        f"encoder 'clip:{architecture}': its weights are not on this machine and nothing is downloaded; get "
        f"open_clip_model.safetensors of {_a_repository(architecture)} and write "
        f"clip:{_trained_as(architecture)}:<path>"
    )


def require_builtin_tower(architecture: str, hub_keys: Sequence[str]) -> None:
    """Raises :class:`UserError` for an unknown architecture, and for one whose text tower lives on the hub."""
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None:
        raise UserError(unknown_model("clip", architecture, open_clip.list_models()))
    if any(config["text_cfg"].get(key) for key in hub_keys):
        raise UserError(
            f"encoder 'clip:{architecture}': its text side needs files of the Hugging Face hub; choose a model with "
            "CLIP's own tokenizer, such as ViT-B-32"
        )


def _in_cache(tag: Mapping[str, Any]) -> Path | None:
    address = str(tag.get("url", ""))
    downloaded = URL_CACHE.expanduser() / address.rpartition("/")[2]
    if address and downloaded.is_file():
        return downloaded
    repository, _, file_name = str(tag.get("hf_hub", "")).rpartition("/")
    if not repository:
        return None
    names = [file_name] if file_name else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    return cached_hub_file(repository, names)


def _a_repository(architecture: str) -> str:
    return str(_first_on_the_hub(architecture).get("hf_hub", architecture)).rstrip("/")


def _trained_as(architecture: str) -> str:
    """The architecture with the activation that those weights were trained with: their file does not tell it."""
    import open_clip

    quick, wanted = f"{architecture}-quickgelu", _first_on_the_hub(architecture).get("quick_gelu")
    return quick if wanted and quick in open_clip.list_models() else architecture


def _first_on_the_hub(architecture: str) -> Mapping[str, Any]:
    return next((tag for tag in tags(architecture) if tag.get("hf_hub")), {})


class ClipFamily(EncoderFamily):
    name = "clip"
    summary = "CLIP by open_clip, for text and images"
    usage = "clip:<open_clip model>[:<weights file>]"
    text = ClipTextEncoder
    image = ClipImageEncoder
