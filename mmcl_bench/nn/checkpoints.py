"""Released checkpoints: reading them as data, and fitting them to a network."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmcl_bench.core.errors import UserError

_DAMAGED = (
    SafetensorError,
    pickle.UnpicklingError,
    # What the restricted unpickler lets through when the bytes are arbitrary.
    *(AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error),
)


def load_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors`` file or a file of ``torch.save``, without ``module.`` before its names.

    One under ``state_dict`` or ``model`` is unwrapped. Nothing in the file is executed. Raises :class:`UserError` when
    it cannot be read or holds more than tensors.
    """
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint; check the path") from None
    except _DAMAGED as error:
        # The text of torch's own error advises to load the file unsafely, so it stays out of the message.
        raise UserError(
            f"{path}: not a readable checkpoint of tensors alone; download it again, or give a safetensors file"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"{path}: not a state dict of tensors; save network.state_dict() alone")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def restore(network: nn.Module, path: Path) -> None:
    """Loads a checkpoint into ``network``. Raises :class:`UserError` naming the first parameter that does not fit."""
    state, expected = load_checkpoint(path), network.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        if name not in state:
            raise UserError(f"{path}: lacks {name} of {type(network).__name__}; choose the network it was made with")
        if name not in expected:
            raise UserError(f"{path}: holds {name}, which {type(network).__name__} lacks; choose its own network")
        if state[name].shape != expected[name].shape:
            found, wanted = tuple(state[name].shape), tuple(expected[name].shape)
            raise UserError(f"{path}: {name} is {found}, not {wanted}; check layout, bodies, channels and classes")
    network.load_state_dict(state)
