"""Fitted models on disk: arrays in ``model.safetensors``, everything else in ``model.json``. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically, write_text
from mmcl_bench.skeleton.layouts import Layout, portable

if TYPE_CHECKING:
    from mmcl_bench.methods.base import Method

FORMAT = 1
FACTS, ARRAYS = "model.json", "model.safetensors"
FILES = (FACTS, ARRAYS)
_LAYOUT: TypeAdapter[str | Layout] = TypeAdapter(str | Layout)


@dataclass(frozen=True)
class SavedModel:
    """What :func:`write_model` wrote."""

    layout: str | Layout
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names start with a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): array for name, array in self.arrays.items() if name.startswith(prefix)}


def write_model(
    folder: Path,
    method: Method,
    layout: str | Layout,
    facts: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
) -> list[str]:
    """Writes a fitted method; returns the names of the files.

    ``layout`` is the joint layout that it scores, ``facts`` are plain JSON values.
    """
    whole = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()}
    kept = _LAYOUT.dump_python(portable(layout), mode="json")
    identity = {"format": FORMAT, "method": method.name, "version": method.version, "layout": kept}
    text = json.dumps({**identity, "facts": dict(facts)}, indent=1) + "\n"
    write_atomically(folder / ARRAYS, lambda path: save_file(whole, path))
    write_text(folder / FACTS, text)
    return list(FILES)


def read_model(folder: Path, method: type[Method]) -> SavedModel:
    """The model of ``method`` in ``folder``.

    Raises :class:`UserError` when there is none, or one that is damaged or of another version of the method.
    """
    content = _content(folder)
    try:
        arrays = load_file(folder / ARRAYS)
    except (OSError, SafetensorError) as error:
        raise _unusable(folder, f"{ARRAYS} is missing or damaged") from error
    if (content.get("method"), content.get("version")) != (method.name, method.version):
        kept = f"{content.get('method')} version {content.get('version')}"
        raise _unusable(folder, f"its model is of {kept}, and {method.name} is at version {method.version}")
    return SavedModel(content["layout"], content["facts"], arrays)


def saved_layout(folder: Path) -> str | Layout:
    """The joint layout that the model in ``folder`` scores. Raises :class:`UserError` as :func:`read_model`."""
    layout: str | Layout = _content(folder)["layout"]
    return layout


def _content(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / FACTS).read_bytes())
    except FileNotFoundError as error:
        raise _unusable(folder, "keeps no model") from error
    except (OSError, ValueError) as error:
        raise _unusable(folder, f"{FACTS} is damaged") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _unusable(folder, f"{FACTS} is not of format {FORMAT}")
    try:
        layout = _LAYOUT.validate_python(content.get("layout"))
    except ValidationError as error:
        raise _unusable(folder, f"{FACTS} lacks layout or facts") from error
    if not isinstance(content.get("facts"), dict):
        raise _unusable(folder, f"{FACTS} lacks layout or facts")
    return {**content, "layout": layout}


def require_width(embeddings: np.ndarray, width: int) -> None:
    """Raises :class:`UserError` where class texts (K, D) have another width than those the model was trained with."""
    if embeddings.ndim != 2 or embeddings.shape[1] != width:
        raise UserError(
            f"class texts are embedded as {embeddings.shape[-1]} numbers and the model learned from {width}; "
            "embed them with the text encoder of its task"
        )


def _unusable(folder: Path, what: str) -> UserError:
    return UserError(f"{folder}: {what}; run the job again with --fresh")
