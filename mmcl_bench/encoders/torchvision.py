"""Any image classifier of torchvision, from a weights file or from the files that torchvision has downloaded before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.images import encode_images
from mmcl_bench.encoders.weights import WeightsFile, read_state_dict, unknown_model

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_TRANSFORMED_INPUT = ("inception_v3", "googlenet")
"""Networks whose published weights want the input that they were trained on elsewhere; torchvision converts it."""
_FIXED_INPUT = re.compile(r"vit_|maxvit")
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""torchvision's own files of DenseNet have a dot too many; see ``_load_state_dict`` in its ``densenet.py``."""
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Classifiers at half height, for training alone."""


class TorchvisionImageEncoder(WeightsFile):
    """The input of the last linear layer: 2048 numbers for ``inception_v3``, 512 for ``resnet34``.

    Convolutional networks see an image at its own resolution and aspect ratio; transformers with a fixed input see
    square windows of it, and their features are averaged.
    """

    family = library = "torchvision"

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        model = self._model.to(self.device)
        preset = _published(self._model_name).transforms()
        fixed = preset.crop_size * 2 if _FIXED_INPUT.match(self._model_name) else None
        return encode_images(images, model, preset.mean, preset.std, fixed, self.device)

    @cached_property
    def _weights(self) -> Path:
        _require_known(self._model_name)
        return super()._weights

    def _downloaded(self) -> Path:
        import torchvision

        return downloaded_file(self.name, list(torchvision.models.get_model_weights(self._model_name)))

    @cached_property
    def _model(self) -> Any:
        """The classifier without its last linear layer. Raises :class:`UserError` for one without such a layer."""
        import torch

        model = _untrained(self._model_name)
        layers = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        n_classes = len(_published(self._model_name).meta["categories"])
        if not layers or layers[-1][1].out_features != n_classes:
            raise UserError(f"encoder '{self.name}': {self._model_name} has no linear classifier to take off")
        last, _ = layers[-1]
        model.set_submodule(last, torch.nn.Identity())
        state = {
            _OLD_DENSENET_KEY.sub(r"\1\2", name): value
            for name, value in read_state_dict(self._weights).items()
            if not name.startswith((f"{last}.", *_AUXILIARY))
        }
        self._load(model, state, optional=_AUXILIARY)
        return model.eval().to(memory_format=torch.channels_last)


def _untrained(model_name: str) -> Any:
    import torchvision

    _require_known(model_name)
    # The initial weights of these two take seconds to draw, and are replaced at once.
    settings = {"transform_input": True, "init_weights": False} if model_name in _TRANSFORMED_INPUT else {}
    return torchvision.models.get_model(model_name, weights=None, **settings)


def _require_known(model_name: str) -> None:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if model_name not in known:
        raise UserError(unknown_model("torchvision", model_name, known))


def _published(model_name: str) -> Any:
    """What torchvision knows of the first file that it publishes of a model, the one of the original paper."""
    import torchvision

    return next(iter(torchvision.models.get_model_weights(model_name)))


def downloaded_file(spec: str, published: Iterable[Any]) -> Path:
    """The first of torchvision's published files that lies in torch's cache. Raises :class:`UserError` for none."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    names = [str(weights.url).rpartition("/")[2] for weights in published]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"{spec!r}: its weights are not in {folder} and nothing is downloaded; get {' or '.join(names) or 'them'} and "
        f"write {spec}:<path>"
    )


class TorchvisionFamily(EncoderFamily):
    name = "torchvision"
    summary = "any image classifier of torchvision, such as inception_v3 or resnet34, without its last layer"
    usage = "torchvision:<model>[:<weights file>]"
    image = TorchvisionImageEncoder
