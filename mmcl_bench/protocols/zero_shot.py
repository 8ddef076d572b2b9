"""Zero-shot recognition: some classes have no training clip and are known by their descriptions alone.

Roles: training clips are those of the seen classes on the training side. The test holds every clip of the test side,
so that one job gives both settings: among unseen classes only (ZSL) and among all classes (GZSL). Choosing happens
on pseudo-unseen classes, which are held out of the seen ones on the training side: SynSE's own lists where they
exist, else drawn by hashing the task. The clips there are of held-out subjects, as those of the test are of others than
train; pseudo-unseen ones come from all subjects where held-out ones have too few.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from mmcl_bench.core.errors import UserError
from mmcl_bench.datasets.store import SkeletonDataset
from mmcl_bench.protocols import splits
from mmcl_bench.protocols.base import Protocol, Rows, side_rows
from mmcl_bench.protocols.problem import ClassTable, ClipView, LabelledClips

PSEUDO_UNSEEN_CLIPS = 10
"""Minimum clips of each pseudo-unseen class by held-out subjects; with fewer, all subjects' clips are used."""
MANY_SEEN = 40
"""Seen classes from which on pseudo-unseen ones are drawn once: a draw of few classes varies, and costs a fit."""


class ZeroShot(Protocol):
    """The card's split names the unseen classes; its parameters name the text encoder and what it reads."""

    name = "zero-shot"

    @cached_property
    def classes(self) -> ClassTable:
        texts = self.task.class_texts()
        seen = np.ones(len(texts), dtype=bool)
        seen[list(self._split.unseen)] = False
        return ClassTable(self._dataset.card.classes, seen, texts)

    @cached_property
    def embedded_classes(self) -> ClassTable:
        from mmcl_bench.encoders import text_encoder

        spec = self.task.parameters["text"]
        embed = partial(self._embed, spec=spec, encoder=text_encoder(spec))  # whose weights are loaded once
        slots = {slot: embed(self._slot_texts(slot)) for slot in self.needs.text_slots}
        return replace(self.classes, embeddings=embed(self.task.class_texts()), slots=slots)

    @cached_property
    def pseudo_unseen(self) -> tuple[np.ndarray, ...]:
        """Columns of the seen classes that serve as pseudo-unseen classes in validation, by draw; no two draws share
        one."""
        if self._split.validation_unseen is not None:
            return (np.array(self._split.validation_unseen, dtype=np.int64),)
        seen = np.array(self._split.seen, dtype=np.int64)
        size = min(len(self._split.unseen), max(2, len(seen) // 2), len(seen) - 1)
        first = self.generator("pseudo-unseen classes").choice(seen, size=size, replace=False)
        others = self.generator("other pseudo-unseen classes").permutation(np.setdiff1d(seen, first))
        draws = [first, *(others[at : at + size] for at in range(0, len(others) - size + 1, size))]
        return tuple(np.sort(draw) for draw in draws)

    @property
    def _n_draws(self) -> int:
        return min(self.needs.draws, len(self.pseudo_unseen)) if len(self._split.seen) < MANY_SEEN else 1

    def _train(self) -> Rows:
        train, _ = self._sides
        return train.where(self.classes.seen[train.columns])

    def _test(self) -> Rows:
        return self._sides[1]

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

    def _target_unlabelled(self, validation: LabelledClips | None) -> ClipView:
        """The first fit adapts to the clips that it chooses on, as the final one adapts to those that are scored."""
        return self.test_clips() if validation is None else validation.clips

    def _slot_texts(self, slot: str) -> list[str]:
        """The texts of a slot; a class without one has its label, or its name."""
        texts, fields = zip(*(each.slot(slot) for each in self.task.class_descriptions()), strict=True)
        if others := Counter(field for field in fields if field != slot):
            self.text_notes[slot] = ", ".join(f"{field} for {n} of {len(texts)} classes" for field, n in others.items())
        return list(texts)

    @property
    def _dataset(self) -> SkeletonDataset:
        return self.data[self.task.card.dataset]

    @cached_property
    def _split(self) -> splits.Split:
        split = self.task.zero_shot_split
        if split.n_classes != len(self._dataset.card.classes):
            raise UserError(
                f"{self.task.identity}: the split is over {split.n_classes} classes and {self._dataset.card.name} has "
                f"{len(self._dataset.card.classes)}; mend the card's table"
            )
        return split

    @cached_property
    def _sides(self) -> tuple[Rows, Rows]:
        labels = self._dataset.index["label"].to_numpy().astype(np.int64)
        train, test = side_rows(self._dataset, self.task.parameters["side"])
        return Rows(self._dataset, train, labels[train]), Rows(self._dataset, test, labels[test])
