"""What protocols share whose tests have classes without training clips, known by their texts."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmcl_bench.protocols.base import Protocol, Rows
from mmcl_bench.protocols.problem import ClassTable

PSEUDO_UNSEEN_CLIPS = 10
"""Minimum clips of each pseudo-unseen class by held-out subjects; with fewer, all subjects' clips are used."""


class ByTexts(Protocol):
    """Texts are embedded by the encoder that the parameter ``text`` names."""

    @property
    @abstractmethod
    def pseudo_unseen(self) -> tuple[np.ndarray, ...]:
        """Columns of the seen classes that serve as pseudo-unseen classes in validation, by draw; no two draws share
        one."""

    def _embedded(self, classes: ClassTable) -> ClassTable:
        """Classes with their texts, and those of the text slots, embedded."""
        from mmcl_bench.encoders import text_encoder
        from mmcl_bench.encoders.cache import cached_text

        spec = self.task.parameters["text"]
        encoder = text_encoder(spec)  # whose weights are loaded once

        def embed(texts: Sequence[str]) -> np.ndarray:
            # Were unseen classes part of the mean that is subtracted, training would depend on their texts.
            rows, self.weight_hashes[spec] = cached_text(spec, texts, self.cache, encoder, classes.seen)
            unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            return unit

        slots = {slot: embed(self._slot_texts(slot)) for slot in self.needs.text_slots}
        return replace(classes, embeddings=embed(classes.texts or ()), slots=slots)

    def _hold_out(self, train: Rows, draw: int = 0) -> tuple[Rows, Rows, np.ndarray]:
        pseudo_unseen = self.pseudo_unseen[draw]
        pseudo = np.isin(train.columns, pseudo_unseen)
        kept, held_out = self._held_out_recordings(train)
        clips_of_class = [(held_out & (train.columns == column)).sum() for column in pseudo_unseen]
        if min(clips_of_class) >= PSEUDO_UNSEEN_CLIPS:
            validation = held_out
        else:
            validation = held_out | pseudo
            self.validation_notes["pseudo-unseen clips"] = (
                f"of all training subjects, as held-out ones have {min(clips_of_class)} of a class"
            )
        return train.where(kept & ~pseudo), train.where(validation), pseudo_unseen

    def _slot_texts(self, slot: str) -> list[str]:
        """The texts of a slot; a class without one has its label, or its name."""
        texts, fields = zip(*(each.slot(slot) for each in self.task.class_descriptions()), strict=True)
        if others := Counter(field for field in fields if field != slot):
            self.text_notes[slot] = ", ".join(f"{field} for {n} of {len(texts)} classes" for field, n in others.items())
        return list(texts)
