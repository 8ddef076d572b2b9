"""How a text encoder turns a text into one vector: options that follow its spec, as in ``smollm2[pooling=last]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.records import first_fault
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.settings import member_text, parse_bracketed, parse_setting

PLACE = "{}"
"""Where a prompt has the text."""
_SAME = 1e-5
"""Vectors that differ by less than this share of their length are the same but for rounding."""


class TextOptions(BaseModel):
    """The options of a language model as a text encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pooling: Literal["mean", "last"] | None = None
    """The mean over the tokens, or the last token alone; None: as the model's own files say, else the mean."""
    layer: int | None = Field(default=None, ge=0)
    """Whose hidden states are pooled: 0 is the word embeddings, 1 the first layer; None: the last one."""
    prompt: str = PLACE
    """What the model reads, with the text in the place of ``{}``."""
    centre: bool = False
    """Class texts: whether the mean vector over the seen classes of the task is subtracted."""

    @field_validator("prompt")
    @classmethod
    def _has_one_place(cls, prompt: str) -> str:
        if prompt.count(PLACE) != 1:
            raise ValueError("a prompt has {} once, in the place of the text, as in 'This person is {}.'")
        return prompt

    def updated(self, spec: str, texts: Mapping[str, str]) -> TextOptions:
        """With the options that a spec sets, as text. Raises :class:`UserError` for the first that is wrong."""
        fields = type(self).model_fields
        values = self.model_dump()
        for key, text in texts.items():
            if key not in fields:
                raise UserError(f"encoder {spec!r}: {unknown('option', key, sorted(fields))}")
            values[key] = parse_setting(text, fields[key])
        try:
            return type(self).model_validate(values)
        except ValidationError as error:
            where, reason = first_fault(error)
            raise UserError(f"encoder {spec!r}: option {where}={error.errors()[0]['input']}: {reason}") from error

    def shown_behind(self, plain: str, defaults: TextOptions) -> str:
        """A spec or a name with those of these options that differ from ``defaults``."""
        former = defaults.model_dump()
        return member_text(plain, {key: value for key, value in self.model_dump().items() if value != former[key]})

    def encoder_name(self, plain: str, defaults: TextOptions) -> str:
        """The name of an encoder with these options. ``centre`` is no part of it: each text's own vector stays."""
        return self.shown_behind(plain, defaults.model_copy(update={"centre": self.centre}))


def split_options(spec: str) -> tuple[str, dict[str, str]]:
    """A spec without its options, and the options as text. Raises :class:`UserError` for one that is not key=value."""
    if not spec.endswith("]") or "[" not in spec:
        return spec, {}
    plain, _, listed = spec.rpartition("[")
    return plain, parse_bracketed(f"[{listed}", f"encoder {spec!r}")[1]


def centred(rows: np.ndarray, encoder: str, seen: np.ndarray | None = None) -> np.ndarray:
    """float32 (K, D): rows of several texts, less the mean of all, or of the ``seen`` ones, bool (K,).

    Raises :class:`UserError` where a row is that mean, so that nothing of it would be left.
    """
    spread = rows - rows[slice(None) if seen is None else seen].mean(axis=0, dtype=np.float64)
    if np.linalg.norm(spread, axis=1).min() <= _SAME * np.linalg.norm(rows, axis=1).max():
        raise UserError(
            f"encoder {encoder}: a text, or all of them, get the mean vector, of which centring leaves nothing; choose "
            "another layer, pooling or prompt, or centre=false"
        )
    less: np.ndarray = spread.astype(np.float32)
    return less
