"""Any text model of transformers that lies on this machine: a folder, or a name in the local Hugging Face cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import read_text
from mmcl_bench.core.paths import at_home
from mmcl_bench.core.text import first_line
from mmcl_bench.encoders import EncoderFamily
from mmcl_bench.encoders.options import PLACE, TextOptions
from mmcl_bench.encoders.weights import cached_hub_file, file_hash

if TYPE_CHECKING:
    import torch

BATCH = 32
LONGEST = 512
"""Tokens after which a text is cut, unless its model takes fewer."""

PoolingMode = Literal["mean", "cls", "lasttoken"]
_MODES: dict[str, PoolingMode] = {"mean": "mean", "last": "lasttoken"}
"""By the name that the option has."""


@dataclass(frozen=True)
class Pooling:
    """How token states become one vector, as a folder of sentence-transformers says it."""

    mode: PoolingMode = "mean"
    normalise: bool = False
    max_tokens: int = LONGEST


class TransformersTextEncoder:
    """Last hidden states pooled to one vector a text.

    A sentence-transformers folder is pooled as its own files say. Any other model is averaged over the tokens that
    are not padding. Decoders are too: the last state of one that was not tuned for embedding is trained to foretell
    the next token, not to sum up the text. Options say otherwise.
    """

    _file: Mapping[str, str] = {}
    """What the auto classes of transformers are told beside the folder."""

    def __init__(self, folder: Path, name: str, options: TextOptions | None = None) -> None:
        self.name = name
        self._options = options or TextOptions()
        self.centre = self._options.centre
        self._folder = folder

    @cached_property
    def weight_hash(self) -> str:
        """sha256 of the weights and of the files that say how a text is cut into tokens and pooled, in hex."""
        return folder_hash(self._folder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, D), unit rows where the model's own files ask for it."""
        import torch

        order = sorted(range(len(texts)), key=lambda position: len(texts[position]))
        rows: dict[int, np.ndarray] = {}
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                chosen = order[start : start + BATCH]
                read = [self._options.prompt.replace(PLACE, texts[position]) for position in chosen]
                rows.update(zip(chosen, self._embed(read), strict=True))
        features = np.stack([rows[position] for position in range(len(texts))])
        if not np.isfinite(features).all():
            raise UserError(f"{self.name}: gives numbers that are not finite; its file is damaged, copy it again")
        return features

    def _embed(self, texts: list[str]) -> np.ndarray:
        import torch

        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt")
        layer = self._options.layer
        output = self._model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            **({} if layer is None else {"output_hidden_states": True}),
        )
        hidden = output.last_hidden_state if layer is None else self._of_layer(output.hidden_states, layer)
        pooled = pool(hidden.float(), tokens["attention_mask"], self._pooling.mode)
        if self._pooling.normalise:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        features: np.ndarray = pooled.numpy()
        return features

    def _of_layer(self, states: Sequence[torch.Tensor], layer: int) -> torch.Tensor:
        if layer >= len(states):
            raise UserError(f"encoder {self.name}: the model has layers 0 (word embeddings) to {len(states) - 1}")
        return states[layer]

    @cached_property
    def _pooling(self) -> Pooling:
        return pooling_of(read_pooling(self._folder), self._options)

    @cached_property
    def _max_tokens(self) -> int:
        positions = getattr(self._model.config, "max_position_embeddings", None) or LONGEST
        return int(min(self._pooling.max_tokens, self._tokenizer.model_max_length, positions))

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        tokenizer = load_local(AutoTokenizer, self._folder, self.name, "tokenizer", **self._file)
        # On the right, padding moves no position and a causal model never sees it.
        tokenizer.padding_side = "right"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        import torch
        from transformers import AutoModel

        model = load_trained(AutoModel, self._folder, self.name, **self._file)
        encoder = model.get_encoder() if model.config.is_encoder_decoder else model
        # A model that was read from GGUF is float32 and refuses to be told so.
        return (encoder if encoder.dtype == torch.float32 else encoder.float()).eval()


def pool(hidden: torch.Tensor, mask: torch.Tensor, mode: PoolingMode) -> torch.Tensor:
    """(N, D) from token states (N, L, D) and a mask (N, L) of ones over right-padded tokens."""
    import torch

    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        return hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def pooling_of(own: Pooling, options: TextOptions) -> Pooling:
    """A model's own pooling, with the mode that its options ask for."""
    return own if options.pooling is None else replace(own, mode=_MODES[options.pooling])


def read_pooling(folder: Path) -> Pooling:
    """What the files of sentence-transformers in ``folder`` say, else the mean of up to 512 tokens.

    Raises :class:`UserError` for a module or a pooling beyond mean, cls and lasttoken.
    """
    if not (folder / "modules.json").is_file():
        return Pooling()
    modules = {str(module["type"]).rpartition(".")[2]: str(module["path"]) for module in _json(folder / "modules.json")}
    if further := modules.keys() - {"Transformer", "Pooling", "Normalize"}:
        raise UserError(f"{folder}: module {', '.join(sorted(further))} is not supported; choose a model without it")
    settings = _json(folder / modules["Pooling"] / "config.json") if "Pooling" in modules else {}
    limits = folder / "sentence_bert_config.json"
    max_tokens = (_json(limits).get("max_seq_length") if limits.is_file() else None) or LONGEST
    return Pooling(_pooling_mode(settings, folder), "Normalize" in modules, int(max_tokens))


def _pooling_mode(settings: dict[str, Any], folder: Path) -> PoolingMode:
    legacy = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
        "pooling_mode_lasttoken": "lasttoken",
    }
    flags = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value is True]
    modes = [settings["pooling_mode"]] if "pooling_mode" in settings else [legacy.get(key, key) for key in flags]
    if modes not in ([], ["mean"], ["cls"], ["lasttoken"]):
        raise UserError(
            f"{folder}: pooling {modes} is not supported; choose a model that pools by mean, cls or lasttoken"
        )
    mode: PoolingMode = modes[0] if modes else "mean"
    return mode


def load_local(kind: Any, folder: Path, name: str, part: str, **settings: Any) -> Any:
    """What an auto class of transformers makes of the files in ``folder``; no code in them is run, nothing is fetched.

    Raises :class:`UserError` that says of ``name`` which ``part`` cannot be loaded.
    """
    try:
        with _no_progress_bar():
            return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise UserError(
            f"{name}: the {part} in {_place(folder, settings)} cannot be loaded ({first_line(error)}); "
            "copy it again or choose another"
        ) from error


def load_trained(kind: Any, folder: Path, name: str, **settings: Any) -> Any:
    """The model in ``folder``, from safetensors alone. Raises :class:`UserError` also when it lacks trained weights."""
    model, report = load_local(kind, folder, name, "model", use_safetensors=True, output_loading_info=True, **settings)
    absent = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    if absent or report["mismatched_keys"]:
        raise UserError(f"{name}: {_place(folder, settings)} lacks trained weights of its own model; copy it again")
    return model


def _place(folder: Path, settings: Mapping[str, Any]) -> Path:
    """The folder, or the file in it that all is read from."""
    return folder / str(settings.get("gguf_file", ""))


def weights_hash(folder: Path) -> str:
    """sha256 of the weights file of a transformers folder, or of the list of its shards' names and sha256, in hex."""
    files = weight_files(folder)
    if len(files) == 1:
        return file_hash(files[0])
    listing = "".join(f"{path.name}:{file_hash(path)}\n" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def folder_hash(folder: Path) -> str:
    """sha256 of all that the numbers of a transformers folder depend on, in hex."""
    return hashlib.sha256(f"{weights_hash(folder)} {settings_hash(folder)}".encode()).hexdigest()


def settings_hash(folder: Path) -> str:
    """sha256 of the files that say how images and texts are prepared and pooled: chat template, tokenizer, sizes."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".jinja", ".txt", ".model") and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors file of a transformers folder, or its shards. Raises :class:`UserError` when there is none."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in sorted(set(_json(index)["weight_map"].values()))]
    raise UserError(f"{folder}: holds no model.safetensors; convert the model to safetensors")


def model_folder(argument: str) -> Path:
    """The folder that ``argument`` names: itself, or a snapshot in the local Hugging Face cache."""
    if not argument:
        raise UserError("encoder 'hf' needs a model: hf:<name or folder>")
    folder = Path(at_home(argument))
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"encoder 'hf:{argument}': no config.json in that folder; give a transformers folder")
        return folder
    from huggingface_hub.errors import HFValidationError

    try:
        config = cached_hub_file(argument, ["config.json"])
    except HFValidationError as error:
        raise UserError(f"encoder 'hf:{argument}': neither a folder nor a model name; check the path") from error
    if config is None:
        raise UserError(
            f"encoder 'hf:{argument}': not on this machine and nothing is downloaded; run hf download {argument} "
            "first, or give the model's folder"
        )
    return config.parent


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers draws a bar for every model it loads, in the midst of our own."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON; copy the model again") from error


def model_name(argument: str, folder: Path) -> str:
    """``hf:`` and the name of a model: that of its folder where ``argument`` is one."""
    return f"hf:{folder.resolve().name if Path(at_home(argument)).is_dir() else argument}"


def hf_text_encoder(argument: str, options: TextOptions) -> TransformersTextEncoder:
    """The encoder ``hf:<name or folder>``. Raises :class:`UserError` when it is not on this machine."""
    folder = model_folder(argument)
    name = options.encoder_name(model_name(argument, folder), TransformersFamily.text_options)
    return TransformersTextEncoder(folder, name, options)


class TransformersFamily(EncoderFamily):
    name = "hf"
    summary = "any text model of transformers on this machine, mean-pooled unless its own files say otherwise"
    usage = "hf:<name or folder>[options]"
    text = staticmethod(hf_text_encoder)
    text_options = TextOptions()
