"""Any image model of timm, from a weights file or from the local Hugging Face cache."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.images import encode_images
from mmcl_bench.encoders.weights import WeightsFile, cached_hub_file, read_state_dict, unknown_model

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


class TimmImageEncoder(WeightsFile):
    """Pooled features before the classifier.

    Networks that take any input size see an image at its own resolution and aspect ratio; those with a fixed input
    see square windows of it, and their features are averaged.
    """

    family = library = "timm"

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        return encode_with_timm(self._model.to(self.device), images, self.device)

    def _downloaded(self) -> Path:
        repository = getattr(pretrained_config(self._model_name), "hf_hub_id", None)
        found = cached_hub_file(repository, ["model.safetensors"]) if repository else None
        if found is None:
            raise UserError(
                f"encoder '{self.name}': its weights are not on this machine and nothing is downloaded; get "
                f"model.safetensors of {repository or self._model_name} and write {self.name}:<path>"
            )
        return found

    @cached_property
    def _model(self) -> Any:
        model = bare_model(self._model_name)
        classifier = model.pretrained_cfg.get("classifier") or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        state = read_state_dict(self._weights)
        features = {name: value for name, value in state.items() if not name.startswith(tuple(f"{h}." for h in heads))}
        self._load(model, features)
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
    from timm.data import config as timm_data

    config = timm_data.resolve_model_data_config(model)
    _, height, width = config["input_size"]
    fixed = (width, height) if model.pretrained_cfg.get("fixed_input_size") else None
    return encode_images(images, model, config["mean"], config["std"], fixed, device)


class TimmFamily(EncoderFamily):
    name = "timm"
    summary = "any image model of timm, pooled before its classifier"
    usage = "timm:<model>[:<weights file>]"
    image = TimmImageEncoder
