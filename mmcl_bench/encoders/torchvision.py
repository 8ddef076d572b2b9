"""Any image classifier of torchvision, from a weights file or from the files that torchvision has downloaded before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.images import at_native_height, encode_by_shape, encode_windows, to_tensor
from mmcl_bench.encoders.weights import file_hash, model_and_weights, read_state_dict, unknown_model

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

_TRANSFORMED_INPUT = ("inception_v3", "googlenet")
"""Networks whose published weights want the input that they were trained on elsewhere; torchvision converts it."""
_FIXED_INPUT = re.compile(r"vit_|maxvit")
_OLD_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")
"""torchvision's own files of DenseNet have a dot too many; see ``_load_state_dict`` in its ``densenet.py``."""
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Classifiers at half height, for training alone."""


class TorchvisionImageEncoder:
    """The input of the last linear layer: 2048 numbers for ``inception_v3``, 512 for ``resnet34``.

    Convolutional networks see an image at its own resolution and aspect ratio; transformers with a fixed input see
    square windows of it, and their features are averaged.
    """

    device = "cpu"

    def __init__(self, argument: str) -> None:
        self._model_name, self._given = model_and_weights(TorchvisionFamily.name, argument)
        self.name = f"{TorchvisionFamily.name}:{self._model_name}"

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the weights file, in hex."""
        return file_hash(self._weights)

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        """float32 (N, D) pooled features of RGB images of any size, in their order."""
        from PIL import Image

        model = self._model.to(self.device)
        preset = _published(self._model_name).transforms()
        if not _FIXED_INPUT.match(self._model_name):
            tensors = [to_tensor(at_native_height(image), preset.mean, preset.std) for image in images]
            return encode_by_shape(tensors, model, self.device)
        (side,) = preset.crop_size

        def prepare(window: Image.Image) -> torch.Tensor:
            return to_tensor(window.resize((side, side), Image.Resampling.BICUBIC), preset.mean, preset.std)

        return encode_windows(list(images), prepare, model, self.device)

    @cached_property
    def _weights(self) -> Path:
        _require_known(self._model_name)
        return self._given or _downloaded(self._model_name)

    @cached_property
    def _model(self) -> Any:
        return headless(self._model_name, self._weights)


def headless(model_name: str, weights: Path) -> Any:
    """A torchvision classifier without its last linear layer, with the weights of a file, in evaluation mode.

    Raises :class:`UserError` for an unknown model, for one without such a layer, and for weights of another one.
    """
    import torch

    model = _untrained(model_name)
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    if not layers or layers[-1][1].out_features != _classes(model_name):
        raise UserError(
            f"encoder '{TorchvisionFamily.name}:{model_name}': {model_name} has no linear classifier to take off"
        )
    last, _ = layers[-1]
    model.set_submodule(last, torch.nn.Identity())
    unused = (f"{last}.", *_AUXILIARY)
    state = {
        _OLD_DENSENET_KEY.sub(r"\1\2", name): value
        for name, value in read_state_dict(weights).items()
        if not name.startswith(unused)
    }
    try:
        missing = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _foreign(model_name, weights) from error
    if missing.unexpected_keys or [key for key in missing.missing_keys if not key.startswith(_AUXILIARY)]:
        raise _foreign(model_name, weights)
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
        raise UserError(unknown_model(TorchvisionFamily.name, model_name, known))


def _published(model_name: str) -> Any:
    """What torchvision knows of the first file that it publishes of a model, the one of the original paper."""
    import torchvision

    return next(iter(torchvision.models.get_model_weights(model_name)))


def _classes(model_name: str) -> int:
    return len(_published(model_name).meta["categories"])


def _downloaded(model_name: str) -> Path:
    """The file of a model in torch's own cache. Raises :class:`UserError` when there is none."""
    import torchvision

    return downloaded_file(
        f"{TorchvisionFamily.name}:{model_name}", list(torchvision.models.get_model_weights(model_name))
    )


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


def _foreign(model_name: str, weights: Path) -> UserError:
    return UserError(f"{weights}: these are not weights of torchvision's {model_name}; give the file of that model")


class TorchvisionFamily(EncoderFamily):
    name = "torchvision"
    summary = "any image classifier of torchvision, such as inception_v3 or resnet34, without its last layer"
    usage = "torchvision:<model>[:<weights file>]"
    image = TorchvisionImageEncoder
