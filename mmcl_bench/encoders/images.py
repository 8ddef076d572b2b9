"""How images of any shape reach a network: strips of person crops are wide, and squashing them hides the people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch

BATCH = 16
LOWEST, HIGHEST = 80, 224
"""Heights in pixels between which convolutional networks see an image at its own resolution."""
MOST_WINDOWS = 16


def at_native_height(image: Image.Image) -> Image.Image:
    """The image itself, or scaled in proportion so that its height lies between 80 and 224 pixels."""
    height = min(max(image.height, LOWEST), HIGHEST)
    if height == image.height:
        return image
    width = max(1, round(image.width * height / image.height))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def square_windows(image: Image.Image) -> list[Image.Image]:
    """Evenly spaced square windows that cover the longer side: four for a 320x80 strip, one for a square.

    For networks with a fixed square input. Past a ratio of 16 the windows no longer touch.
    """
    side, length = sorted(image.size)
    count = min(-(-length // side), MOST_WINDOWS)
    starts = np.linspace(0, length - side, count).round().astype(int).tolist()
    if image.width >= image.height:
        return [image.crop((start, 0, start + side, side)) for start in starts]
    return [image.crop((0, start, side, start + side)) for start in starts]


def to_tensor(image: Image.Image, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """float32 (3, H, W), normalised by channel; ``mean`` and ``std`` are on the scale 0 to 1."""
    import torch

    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    pixels = (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(pixels.transpose(2, 0, 1))


def encode_by_shape(
    tensors: Sequence[torch.Tensor], forward: Callable[[torch.Tensor], torch.Tensor], device: str = "cpu"
) -> np.ndarray:
    """float32 (N, D): ``forward`` on ``device`` over batches of equal shape, rows in the order of ``tensors``."""
    import torch

    by_shape: dict[torch.Size, list[int]] = defaultdict(list)
    for position, tensor in enumerate(tensors):
        by_shape[tensor.shape].append(position)
    rows: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for positions in by_shape.values():
            for start in range(0, len(positions), BATCH):
                chosen = positions[start : start + BATCH]
                batch = torch.stack([tensors[position] for position in chosen]).to(device)
                features = forward(batch.contiguous(memory_format=torch.channels_last))
                rows.update(zip(chosen, features.float().cpu().numpy(), strict=True))
    return np.stack([rows[position] for position in range(len(tensors))])


def encode_images(
    images: Iterable[Image.Image],
    model: Callable[[torch.Tensor], torch.Tensor],
    mean: Sequence[float],
    std: Sequence[float],
    fixed: tuple[int, int] | None,
    device: str,
) -> np.ndarray:
    """float32 (N, D): of each image at its own resolution, or of windows in the ``fixed`` input, width by height."""
    if fixed is None:
        return encode_by_shape([to_tensor(at_native_height(image), mean, std) for image in images], model, device)

    def prepare(window: Image.Image) -> torch.Tensor:
        return to_tensor(window.resize(fixed, Image.Resampling.BICUBIC), mean, std)

    return encode_windows(list(images), prepare, model, device)


def encode_windows(
    images: Sequence[Image.Image],
    prepare: Callable[[Image.Image], torch.Tensor],
    forward: Callable[[torch.Tensor], torch.Tensor],
    device: str = "cpu",
) -> np.ndarray:
    """float32 (N, D): for each image the mean feature of its :func:`square_windows`."""
    windows = [square_windows(image) for image in images]
    features = encode_by_shape([prepare(window) for group in windows for window in group], forward, device)
    ends = np.cumsum([len(group) for group in windows])[:-1]
    return np.stack([group.mean(axis=0) for group in np.split(features, ends)])
