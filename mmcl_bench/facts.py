"""The facts in ``protocols/``: class splits, class names and descriptions, class maps, joint maps.

Each is a TOML file that states its own source. Labels are zero-based everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.paths import packaged
from mmcl_bench.core.records import read_toml
from mmcl_bench.core.registry import unknown

Label = Annotated[int, Field(ge=0, strict=True)]
"""A zero-based class number."""
Words = Annotated[str, Field(min_length=1, pattern=r"^\S(.*\S)?$")]
"""One line of text without blanks at its ends."""

TEXT_FIELDS = ("name", "label", "global", "head", "hands", "torso", "legs", "start", "middle", "end")
"""What may be chosen to describe a class: its name, a readable label, the whole motion, body parts, phases in time."""


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(_Fact):
    """One way to part the classes of a table in seen and unseen."""

    name: str = Field(pattern=r"^\d+/\d+(:[a-z0-9-]+)?$")
    """Seen/unseen counts, and the family where another family has the plain name: ``55/5``, ``55/5:smie-1``."""
    table: str
    n_classes: int
    unseen: tuple[Label, ...]
    validation_unseen: tuple[Label, ...] | None = None
    """Seen classes that the authors hold out to play the unseen ones while they fit; None where they name none."""
    family: Words
    """Whose split it is: synse, star, smie, star-smie, sadvae, purls."""
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
        counts = [int(count) for count in re.findall(r"\d+", self.name.partition(":")[0])]
        if counts != [len(self.seen), len(self.unseen)]:
            raise ValueError(f"{self.name}: has {len(self.seen)} seen and {len(self.unseen)} unseen classes")
        return self


class ClassText(_Fact):
    """The official name of a class, and what it looks like in words written for this project."""

    model_config = ConfigDict(populate_by_name=True)

    name: Words
    label: Words | None = None
    global_: Words | None = Field(None, alias="global")
    """One sentence on how the whole body moves."""
    head: Words | None = None
    hands: Words | None = None
    torso: Words | None = None
    legs: Words | None = None
    start: Words | None = None
    middle: Words | None = None
    end: Words | None = None

    def text(self, fields: Sequence[str]) -> str:
        """The chosen :data:`TEXT_FIELDS` in one text; several are joined as sentences.

        Raises :class:`UserError` for no field, an unknown field, or one that this class lacks.
        """
        if not fields:
            raise UserError(f"no text field is chosen; choose from {', '.join(TEXT_FIELDS)}")
        texts = [self._field(field) for field in fields]
        return texts[0] if len(texts) == 1 else " ".join(f"{text[0].upper()}{text[1:].rstrip('.')}." for text in texts)

    def _field(self, field: str) -> str:
        if field not in TEXT_FIELDS:
            raise UserError(unknown("text field", field, list(TEXT_FIELDS)))
        text: str | None = getattr(self, "global_" if field == "global" else field)
        if text is None:
            raise UserError(f"class {self.name!r} has no text {field!r}; choose another field, such as 'name'")
        return text


class ClassTexts(_Fact):
    """The classes of a table, in label order."""

    table: str
    source: Words
    """Where the names and their order come from."""
    classes: tuple[ClassText, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(text.name for text in self.classes)


class SharedClass(_Fact):
    """A meaning that two tables share, and their zero-based labels for it."""

    name: Words
    source: tuple[Label, ...] = Field(min_length=1)
    target: tuple[Label, ...] = Field(min_length=1)


class ReportedAccuracy(_Fact):
    """What others measured with a class map, in percent."""

    method: Words
    trained_on: str
    tested_on: str
    top1: float = Field(ge=0, le=100)
    top5: float | None = Field(None, ge=0, le=100)
    source: Words


class ClassMap(_Fact):
    """Classes that two tables share. Classes of either table that stand in no entry have no counterpart."""

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
                raise ValueError(f"a {side} label stands in two shared classes")
        return self


class JointRule(_Fact):
    """A target joint as a weighted sum of source joints; weights add up to 1, so that translation carries over."""

    target: str
    sources: tuple[str, ...] = Field(min_length=1)
    weights: tuple[float, ...]
    rule: Literal["copy", "midpoint", "extrapolate"]

    @model_validator(mode="after")
    def _affine(self) -> JointRule:
        if len(self.sources) != len(self.weights) or not math.isclose(sum(self.weights), 1.0):
            raise ValueError(f"{self.target}: needs one weight a source joint, adding up to 1")
        return self


class JointMap(_Fact):
    """How to place every joint of one layout from the joints of another. Names are those of the layouts."""

    source_layout: str
    target_layout: str
    source: Words
    note: Words | None = None
    joints: tuple[JointRule, ...]


def split_tables() -> list[str]:
    """Class tables that have splits."""
    return _names("splits")


def splits(table: str) -> dict[str, Split]:
    """Every split of a class table, by name. Raises :class:`UserError` for an unknown table."""
    return {split.name: split for split in _read("splits", "class table with splits", table, _SplitFile).split}


def split(table: str, name: str) -> Split:
    """One split. Raises :class:`UserError` with the nearest names when there is none."""
    known = splits(table)
    try:
        return known[name]
    except KeyError:
        raise UserError(unknown(f"split of {table}", name, list(known))) from None


def class_tables() -> list[str]:
    """Class tables that have names."""
    return _names("classes")


def class_texts(table: str) -> ClassTexts:
    """Names and descriptions of a class table. Raises :class:`UserError` for an unknown table."""
    file = _read("classes", "class table", table, _ClassFile)
    inherited = class_texts(file.extends).classes if file.extends else ()
    return ClassTexts(table=file.table, source=file.source, classes=inherited + file.classes)


def class_map(source: str, target: str, variant: str | None = None) -> ClassMap:
    """Classes shared by two tables, from ``source`` to ``target``; a map on disk serves both directions.

    Raises :class:`UserError` when there is none.
    """
    name, reverse = _map_names(source, target, variant)
    if name not in _names("class_maps") and reverse in _names("class_maps"):
        return _read("class_maps", "class map", reverse, ClassMap).inverted()
    return _read("class_maps", "class map", name, ClassMap)


def has_class_map(source: str, target: str) -> bool:
    """Whether :func:`class_map` knows the usual map of two tables."""
    return not set(_map_names(source, target, None)).isdisjoint(_names("class_maps"))


def _map_names(source: str, target: str, variant: str | None) -> tuple[str, str]:
    """The name of a map, and that of the map in the other direction."""
    there, back = ("--".join(filter(None, (*pair, variant))) for pair in ((source, target), (target, source)))
    return there, back


def joint_maps() -> list[str]:
    """Joint maps, as ``source--target``."""
    return _names("joint_maps")


def joint_map(source_layout: str, target_layout: str) -> JointMap:
    """How to make a skeleton of ``target_layout`` from one of ``source_layout``.

    Raises :class:`UserError` when there is no such map.
    """
    return _read("joint_maps", "joint map", f"{source_layout}--{target_layout}", JointMap)


class _SplitFile(_Fact):
    table: str
    n_classes: int
    index_base: Literal[0]
    class_order: Words
    source: Words
    note: Words | None = None
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


class _ClassFile(_Fact):
    table: str
    source: Words
    description_source: Words | None = None
    extends: str | None = None
    """The table whose classes stand before these, with their descriptions."""
    classes: tuple[ClassText, ...] = Field(alias="class")


_File = TypeVar("_File", bound=_Fact)


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in _folder(folder).glob("*.toml"))


def _folder(folder: str) -> Path:
    return packaged("protocols") / folder


def _read(folder: str, kind: str, name: str, model: type[_File]) -> _File:
    known = _names(folder)
    if name not in known:
        raise UserError(unknown(kind, name, known))
    return read_toml(_folder(folder) / f"{name}.toml", model, kind)
