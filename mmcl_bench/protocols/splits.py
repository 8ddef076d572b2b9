"""Class splits of zero-shot tasks and class maps of transfer tasks, each with its source.

Labels are zero-based.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.facts import Fact, Label, Words, fact_names, read_fact
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.text import FOLDS, fold_number, numbered
from mmcl_bench.datasets.classes import class_texts


class Split(Fact):
    """One division of the classes of a table into seen and unseen."""

    name: str = Field(pattern=r"^\d+/\d+(:[a-z0-9-]+)?$")
    """Seen/unseen counts, and the family where another family has the plain name: ``55/5``, ``55/5:smie-1``."""
    table: str
    n_classes: int
    unseen: tuple[Label, ...]
    validation_unseen: tuple[Label, ...] | None = None
    """Seen classes that the authors hold out as pseudo-unseen classes for validation; None where they name none."""
    family: Words
    """Whose split it is: synse, star, smie, star-smie, sadvae, purls; or ours: hashed, fold, own."""
    source: Words
    note: Words | None = None

    @property
    def seen(self) -> tuple[int, ...]:
        """Every class that is not unseen, sorted."""
        return tuple(sorted(set(range(self.n_classes)) - set(self.unseen)))

    @model_validator(mode="after")
    def _consistent(self) -> Split:
        held_out = self.validation_unseen or ()
        for labels in (self.unseen, held_out):
            if list(labels) != sorted(set(labels)) or any(label >= self.n_classes for label in labels):
                raise ValueError(f"{self.name}: classes must be sorted, unique and below {self.n_classes}")
        if not set(held_out) <= set(self.seen):
            raise ValueError(f"{self.name}: validation_unseen holds unseen classes")
        counts = _counts(self.name)
        more = 1 if self.family == _FOLD and len(self.unseen) > counts[1] else 0
        if counts != (len(self.seen) + more, len(self.unseen) - more):
            raise ValueError(f"{self.name}: has {len(self.seen)} seen and {len(self.unseen)} unseen classes")
        return self


class SharedClass(Fact):
    """A class that two tables share, and its zero-based labels in both."""

    name: Words
    source: tuple[Label, ...] = Field(min_length=1)
    target: tuple[Label, ...] = Field(min_length=1)


class ReportedAccuracy(Fact):
    """Published figures measured with a class map, in percent."""

    method: Words
    trained_on: str
    tested_on: str
    top1: float = Field(ge=0, le=100)
    top5: float | None = Field(None, ge=0, le=100)
    source: Words


class ClassMap(Fact):
    """Classes that two tables share. Classes of either table that are in no entry have no counterpart."""

    source_table: str
    target_table: str
    variant: str | None = None
    """None for the usual map of two tables, else the name of a smaller shared class set."""
    source: Words
    note: Words | None = None
    shared: tuple[SharedClass, ...]
    reported: tuple[ReportedAccuracy, ...] = ()

    @property
    def source_to_shared(self) -> dict[int, int]:
        """Position in :attr:`shared` by source label."""
        return {label: at for at, entry in enumerate(self.shared) for label in entry.source}

    @property
    def target_to_shared(self) -> dict[int, int]:
        """Position in :attr:`shared` by target label."""
        return {label: at for at, entry in enumerate(self.shared) for label in entry.target}

    def inverted(self) -> ClassMap:
        """The same map from target to source."""
        shared = tuple(
            entry.model_copy(update={"source": entry.target, "target": entry.source}) for entry in self.shared
        )
        return self.model_copy(
            update={"source_table": self.target_table, "target_table": self.source_table, "shared": shared}
        )

    @model_validator(mode="after")
    def _one_shared_class_a_label(self) -> ClassMap:
        for side in ("source", "target"):
            labels = [label for entry in self.shared for label in getattr(entry, side)]
            if len(labels) != len(set(labels)):
                raise ValueError(f"a {side} label is in two shared classes")
        return self


def _counts(name: str) -> tuple[int, int]:
    """How many classes are seen, and how many unseen, by the name of a split."""
    seen, unseen = name.partition(":")[0].split("/")
    return int(seen), int(unseen)


_FOLD = "fold"
_MOST_DRAWS = 1000


class _Folds(Fact):
    """Splits of a table in each repetition of which every class is unseen once."""

    counts: str = Field(pattern=r"^\d+/\d+$")
    """Seen and unseen classes. Where they do not divide, some folds have one unseen class more and a seen one less."""
    repetitions: int = Field(ge=1)

    def drawn(self, table: str, n_classes: int) -> Iterator[Split]:
        """The folds, repetition after repetition: the classes in the order of a hash, cut into parts of equal size or
        one more. A draw that has a fold of an earlier repetition is left out, so that no fold comes twice."""
        unseen = _counts(self.counts)[1]
        n_folds = n_classes // unseen
        known: set[tuple[int, ...]] = set()
        for draw in range(1, _MOST_DRAWS):
            key = f"{table}:{self.counts}:draw-{draw}"
            order = sorted(range(n_classes), key=lambda label: hashlib.sha256(f"{key}:{label}".encode()).digest())
            ends = [0, *(n_classes // n_folds * at + min(at, n_classes % n_folds) for at in range(1, n_folds + 1))]
            parts = [tuple(sorted(order[start:end])) for start, end in pairwise(ends)]
            if not known.isdisjoint(parts):
                continue
            repetition = len(known) // n_folds + 1
            for at, part in enumerate(parts, 1):
                yield Split(
                    name=f"{self.counts}:{_FOLD}-{len(known) + at}",
                    table=table,
                    n_classes=n_classes,
                    unseen=part,
                    family=_FOLD,
                    source=f"part {at} of {n_folds} of the class ids in the order of sha256('{key}:<class id>')",
                    note=f"Repetition {repetition} of {self.repetitions}.",
                )
            known.update(parts)
            if repetition == self.repetitions:
                return
        raise UserError(f"{table}: there are no {self.repetitions} repetitions without a fold that comes twice")


def split_tables() -> list[str]:
    """Class tables that have splits."""
    return fact_names("splits")


def splits(table: str) -> dict[str, Split]:
    """Every split of a class table, by name. Raises :class:`UserError` for an unknown table."""
    file = _file(table)
    folds = file.folds.drawn(file.table, file.n_classes) if file.folds else ()
    return {split.name: split for split in (*file.split, *folds)}


def splits_for(table: str, classes: Sequence[str]) -> dict[str, Split]:
    """Those of a set that is prepared as one's own and has the table's name and the classes that the table names; none
    where it is another set."""
    if table not in split_tables() or _file(table).classes != tuple(classes):
        return {}
    return splits(table)


def split(table: str, name: str) -> Split:
    """One split. Raises :class:`UserError` with the nearest names when there is none."""
    known = splits(table)
    try:
        return known[name]
    except KeyError:
        raise UserError(unknown(f"split of {table}", name, list(known))) from None


def splits_of(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """The splits that are called ``name`` with a number after it, in their order: ``fold-1``, ``fold-2``, ... of
    ``fold``. None where ``name`` itself is a split, or only one is called so. ``folds`` are all that are folds."""
    if name == FOLDS:
        return tuple(sorted((each for each in names if fold_number(each)), key=fold_number))
    found = sorted((told[1], each) for each in names if (told := numbered(each)) and told[0] == name)
    return tuple(each for _, each in found) if len(found) > 1 and name not in names else ()


def class_map(source: str, target: str, variant: str | None = None) -> ClassMap:
    """Classes shared by two tables, from ``source`` to ``target``; a map on disk serves both directions, and the
    tables that extend these.

    Raises :class:`UserError` when there is none.
    """
    name, reverse = _map_names(*_mapped_tables(source, target), variant)
    if name not in fact_names("class_maps") and reverse in fact_names("class_maps"):
        return read_fact("class_maps", "class map", reverse, ClassMap).inverted()
    return read_fact("class_maps", "class map", name, ClassMap)


def has_class_map(source: str, target: str) -> bool:
    """Whether :func:`class_map` knows the usual map of two tables."""
    return not set(_map_names(*_mapped_tables(source, target), None)).isdisjoint(fact_names("class_maps"))


def _mapped_tables(source: str, target: str) -> tuple[str, str]:
    """Two tables, or those whose classes they begin with where only these have a map."""
    known = fact_names("class_maps")
    tables = [(a, b) for a in _with_first_part(source) for b in _with_first_part(target)]
    return next((pair for pair in tables if not set(_map_names(*pair, None)).isdisjoint(known)), (source, target))


def _with_first_part(table: str) -> list[str]:
    extended = class_texts(table).extends if table in fact_names("classes") else None
    return [table, *([extended] if extended else [])]


def _map_names(source: str, target: str, variant: str | None) -> tuple[str, str]:
    """The name of a map, and that of the map in the other direction."""
    there, back = ("--".join(filter(None, (*pair, variant))) for pair in ((source, target), (target, source)))
    return there, back


def _file(table: str) -> _SplitFile:
    return read_fact("splits", "class table with splits", table, _SplitFile)


class _SplitFile(Fact):
    table: str
    n_classes: int
    index_base: Literal[0]
    class_order: Words
    source: Words
    note: Words | None = None
    folds: _Folds | None = None
    classes: tuple[Words, ...] | None = None
    """Their names, where the table is of a set that is prepared as one's own."""
    split: tuple[Split, ...]

    @model_validator(mode="before")
    @classmethod
    def _tell_splits_their_table(cls, file: dict[str, Any]) -> dict[str, Any]:
        shared = {key: file.get(key) for key in ("table", "n_classes")}
        entries = file.get("split")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("no [[split]] entries")
        return {**file, "split": [{**entry, **shared} for entry in entries]}

    @model_validator(mode="after")
    def _one_split_a_name(self) -> _SplitFile:
        names = [split.name for split in self.split]
        if len(names) != len(set(names)):
            raise ValueError("two splits have one name")
        return self
