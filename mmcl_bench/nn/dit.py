"""A diffusion transformer with adaptive layer norm (Peebles and Xie, "Scalable Diffusion Models with Transformers",
ICCV 2023), and its form with a second stream of tokens that has weights of its own and shares the attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FREQUENCIES = 128
_LONGEST_PERIOD = 10_000.0


class TimeEmbedding(nn.Module):
    """Sines and cosines of a time (N,), then a small network -> (N, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, time: Tensor) -> Tensor:
        places = torch.arange(_FREQUENCIES, dtype=torch.float32, device=time.device)
        angles = time[:, None].float() * torch.exp(-math.log(_LONGEST_PERIOD) / _FREQUENCIES * places)
        embedded: Tensor = self.layers(torch.cat([angles.cos(), angles.sin()], dim=1))
        return embedded


class Modulation(nn.Module):
    """A condition (N, W) -> ``n`` tensors (N, 1, W), zero before training."""

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.n = n
        self.linear = nn.Linear(width, n * width)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        modulation: tuple[Tensor, ...] = self.linear(F.silu(condition)).unsqueeze(1).chunk(self.n, dim=2)
        return modulation


class Stream(nn.Module):
    """The weights of one stream of tokens in a block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = Modulation(width, 6)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))


class Block(nn.Module):
    """Attention over the tokens of all streams, then a network on each token."""

    def __init__(self, width: int, heads: int, n_streams: int) -> None:
        super().__init__()
        self.heads = heads
        self.streams = nn.ModuleList(Stream(width) for _ in range(n_streams))

    def forward(self, tokens: Sequence[Tensor], condition: Tensor) -> list[Tensor]:
        """Tokens (N, M, W) of each stream, and the condition (N, W) or (1, W)."""
        streams = cast("list[Stream]", list(self.streams))
        modulations = [stream.modulation(condition) for stream in streams]
        inputs = [_normalised(x, shift, scale) for x, (shift, scale, *_) in zip(tokens, modulations, strict=True)]
        joined = torch.cat([stream.qkv(x) for stream, x in zip(streams, inputs, strict=True)], dim=1)
        queries, keys, values = joined.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        parts = attended.split([x.shape[1] for x in tokens], dim=1)
        found = []
        for stream, x, part, given in zip(streams, tokens, parts, modulations, strict=True):
            _, _, attention_gate, shift, scale, mlp_gate = given
            x = x + attention_gate * stream.project(part)
            found.append(x + mlp_gate * stream.mlp(_normalised(x, shift, scale)))
        return found


class DiffusionTransformer(nn.Module):
    """Tokens (N, M, D) at a time -> (N, M, D)."""

    def __init__(self, n_inputs: int, width: int, depth: int, heads: int, n_streams: int = 1) -> None:
        super().__init__()
        self.embed = nn.Linear(n_inputs, width)
        self.time = TimeEmbedding(width)
        self.blocks = nn.ModuleList(Block(width, heads, n_streams) for _ in range(depth))
        self.last_modulation = Modulation(width, 2)
        self.last = nn.Linear(width, n_inputs)
        self._initialise()

    def forward(
        self, tokens: Tensor, time: Tensor, condition: Tensor | None = None, others: Sequence[Tensor] = ()
    ) -> Tensor:
        """``time`` is (N,), or (1,) where it is the same for all; ``condition``, (N, W) or (1, W), is added to its
        embedding. ``others`` are embedded tokens (N, M', W) of the further streams."""
        given = self.time(time) if condition is None else self.time(time) + condition
        streams = [self.embed(tokens), *others]
        for block in self.blocks:
            streams = block(streams, given)
        found: Tensor = self.last(_normalised(streams[0], *self.last_modulation(given)))
        return found

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Modulation):
                nn.init.zeros_(module.linear.weight)
        for layer in self.time.layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.last.weight)


def _normalised(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
