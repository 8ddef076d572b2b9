"""Numbers of authors' code, and networks with their weights under other names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Vectors = dict[str, Tensor]


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Holds the norm of the difference, relative to that of what is expected, to the tolerance."""
    found, expected = found.detach().double(), expected.double()
    assert float((found - expected).norm() / expected.norm().clamp(min=1e-12)) < tolerance


def released_name(own: str, names: dict[str, str]) -> str:
    """The authors' name of a parameter, for their names of modules and parameters by our own."""
    (start,) = [start for start in names if own == start or own.startswith(f"{start}.")]
    return names[start] + own[len(start) :]


def take_weights(head: nn.Module, given: Vectors, names: dict[str, str]) -> None:
    with torch.no_grad():
        for own, parameter in head.named_parameters():
            parameter.copy_(given[f"weights.{released_name(own, names)}"].view(parameter.shape))


def check_gradients(head: nn.Module, given: Vectors, names: dict[str, str], prefix: str) -> None:
    """Holds every gradient whose name begins with ``prefix`` to 1e-4."""
    released = {released_name(own, names): own for own, _ in head.named_parameters()}
    checked = [name for name in given if name.startswith(prefix)]
    assert checked
    for name in checked:
        grad = head.get_parameter(released[name.removeprefix(prefix)]).grad
        assert grad is not None
        close(grad, given[name].view(grad.shape), 1e-4)
