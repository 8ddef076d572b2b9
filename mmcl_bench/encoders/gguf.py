"""A language model in one GGUF file, the format of llama.cpp, read by transformers with the package gguf."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr
from functools import cached_property
from importlib import util
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import at_home
from mmcl_bench.core.text import first_line
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.hf import Pooling, TransformersTextEncoder, pooling_of
from mmcl_bench.encoders.options import TextOptions
from mmcl_bench.encoders.weights import file_hash

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"GGUF"


class GgufTextEncoder(TransformersTextEncoder):
    """Hidden states pooled to one vector a text, the mean over the tokens unless options say otherwise; float32."""

    def __init__(self, file: Path, name: str, options: TextOptions) -> None:
        super().__init__(file.parent, name, options)
        self._path = file
        self._file = {"gguf_file": file.name}

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the file, in hex."""
        return file_hash(self._path)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, D). Raises :class:`UserError` for a file that cannot be read."""
        if util.find_spec("gguf") is None:
            raise UserError(f"encoder {self.name}: package gguf, which reads its file, is missing; pip install gguf")
        with self._path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise UserError(f"{self._path}: not a GGUF file; give the .gguf file of a language model")
        self._load()
        return super().encode(texts)

    def _load(self) -> None:
        """Raises :class:`UserError` for a damaged file, or a model of an architecture that transformers lacks."""
        try:
            with redirect_stderr(StringIO()):  # it draws a bar that none of its settings hides
                _ = self._tokenizer, self._model
        except UserError:
            raise
        except Exception as error:  # a damaged file fails anywhere in the code that reads it
            raise UserError(
                f"{self._path}: this GGUF file cannot be read ({type(error).__name__}: {first_line(error)}); "
                "copy it again"
            ) from error

    @cached_property
    def _pooling(self) -> Pooling:
        return pooling_of(Pooling(), self._options)


def gguf_text_encoder(argument: str, options: TextOptions) -> GgufTextEncoder:
    """The encoder ``gguf:<file>``. Raises :class:`UserError` when there is no such file."""
    if not argument:
        raise UserError("encoder 'gguf' needs a file: gguf:<file.gguf>")
    path = Path(at_home(argument))
    if not path.is_file():
        raise UserError(f"encoder 'gguf:{argument}': no file at {path}; check the path")
    return GgufTextEncoder(path, options.encoder_name(f"gguf:{path.name}", GgufFamily.text_options), options)


class GgufFamily(EncoderFamily):
    name = "gguf"
    summary = "a language model in one GGUF file; pip install gguf"
    usage = "gguf:<file>[options]"
    text = staticmethod(gguf_text_encoder)
    # Vectors of decoders are all alike; what tells the classes apart is left when their mean is taken off.
    text_options = TextOptions(pooling="mean", centre=True)
