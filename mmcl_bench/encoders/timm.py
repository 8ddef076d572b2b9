"""Any image model of timm, from a weights file or from the local Hugging Face cache."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.images import at_native_height, encode_by_shape, encode_windows, to_tensor
from mmcl_bench.encoders.weights import (
    cached_hub_file,
    file_hash,
    model_and_weights,
    read_state_dict,
    unknown_model,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image


class TimmImageEncoder:
    """Pooled features before the classifier.

    Networks that take any input size see an image at its own resolution and aspect ratio; those with a fixed input
    see square windows of it, and their features are averaged.
    """

    device = "cpu"

    def __init__(self, argument: str) -> None:
        self._model_name, self._given = model_and_weights("timm", argument)
        self.name = f"timm:{self._model_name}"

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the weights file, in hex."""
        return file_hash(self._weights)

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        """float32 (N, D) pooled features of RGB images of any size, in their order."""
        return encode_with_timm(self._model.to(self.device), images, self.device)

    @cached_property
    def _weights(self) -> Path:
        return self._given or _cached_weights(self._model_name)

    @cached_property
    def _model(self) -> Any:
        model = bare_model(self._model_name)
        classifier = model.pretrained_cfg.get("classifier") or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        state = read_state_dict(self._weights)
        features = {name: value for name, value in state.items() if not name.startswith(tuple(f"{h}." for h in heads))}
        try:
            model.load_state_dict(features)
        except RuntimeError as error:
            raise UserError(
                f"{self._weights}: these are not weights of timm's {self._model_name}; give the file of that model"
            ) from error
        return model


def bare_model(model_name: str) -> Any:
    """A timm model without its classifier, untrained, in evaluation mode. Raises :class:`UserError` if unknown."""
    import timm
    import torch

    pretrained_config(model_name)
    return timm.create_model(model_name, pretrained=False, num_classes=0).eval().to(memory_format=torch.channels_last)


def pretrained_config(model_name: str) -> Any:
    """What timm knows of a model's weights; None for a model without any. Raises :class:`UserError` if unknown."""
    import timm

    architecture = model_name.partition(".")[0]
    if not timm.is_model(architecture):
        raise UserError(unknown_model("timm", model_name, timm.list_models()))
    try:
        return timm.get_pretrained_cfg(model_name)
    except RuntimeError as error:
        raise UserError(unknown_model("timm", model_name, timm.list_pretrained(f"{architecture}.*"))) from error


def encode_with_timm(model: Any, images: Iterable[Image.Image], device: str = "cpu") -> np.ndarray:
    """float32 (N, D) pooled features, prepared as the model's own configuration says; the model lies on ``device``."""
    from PIL import Image
    from timm.data import config as timm_data

    config = timm_data.resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    mean, std = config["mean"], config["std"]
    if not model.pretrained_cfg.get("fixed_input_size"):
        return encode_by_shape([to_tensor(at_native_height(image), mean, std) for image in images], model, device)
    _, height, width = config["input_size"]

    def prepare(window: Image.Image) -> torch.Tensor:
        return to_tensor(window.resize((width, height), Image.Resampling.BICUBIC), mean, std)

    return encode_windows(list(images), prepare, model, device)


def _cached_weights(model_name: str) -> Path:
    repository = getattr(pretrained_config(model_name), "hf_hub_id", None)
    found = cached_hub_file(repository, ["model.safetensors"]) if repository else None
    if found is None:
        raise UserError(
            f"encoder 'timm:{model_name}': its weights are not on this machine and nothing is downloaded; get "
            f"model.safetensors of {repository or model_name} and write timm:{model_name}:<path>"
        )
    return found


class TimmFamily(EncoderFamily):
    name = "timm"
    summary = "any image model of timm, pooled before its classifier"
    usage = "timm:<model>[:<weights file>]"
    image = TimmImageEncoder
