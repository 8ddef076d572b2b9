"""What tasks need to know about a data set, whether it is prepared or not, published or a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.facts import Fact, Label, Words
from mmcl_bench.core.paths import at_home
from mmcl_bench.core.records import first_fault, read_toml
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.text import match_name, match_names
from mmcl_bench.datasets.classes import ClassText, class_texts
from mmcl_bench.datasets.readers import READERS
from mmcl_bench.datasets.store import CARD, DatasetCard, Side, SkeletonDataset
from mmcl_bench.protocols import splits as published
from mmcl_bench.protocols.splits import ClassMap, SharedClass, Split, splits_for


@dataclass(frozen=True)
class DatasetFacts:
    """Classes, sides and splits of a data set."""

    name: str
    title: str
    citation: str
    class_table: str
    class_texts: tuple[ClassText, ...]
    sides: Mapping[str, Side]
    default_side: str
    splits: Mapping[str, Split]
    """Zero-shot splits by name; none where none are defined."""
    collection: str = ""
    """The collection that its recordings come from; sets of one share them. Empty for a user's own set and a synthetic
    one, whose recordings may be any."""

    def split(self, name: str) -> Split:
        """Raises :class:`UserError` with the nearest names when there is none."""
        if name not in self.splits:
            raise UserError(unknown(f"split of {self.name}", name, list(self.splits)))
        return self.splits[name]


def dataset_facts(name: str, data_root: Path) -> DatasetFacts:
    """The facts of a data set: from its reader and ``protocols/``, or else from the card of the prepared set.

    Raises :class:`UserError` when neither is there.
    """
    if name in READERS and READERS.get(name).sides:
        reader = READERS.get(name)
        return DatasetFacts(
            name,
            reader.title,
            reader.citation,
            reader.class_table,
            class_texts(reader.class_table).classes,
            reader.sides,
            reader.default_side,
            _published_splits(reader.class_table),
            _collection(reader.name),
        )
    if not (data_root / name / CARD).is_file():
        prepared = [card.parent.name for card in data_root.glob(f"*/{CARD}")]
        raise UserError(unknown("data set", name, sorted({*READERS, *prepared})))
    return _of_card(SkeletonDataset.open(data_root / name).card)


def class_map(source: DatasetFacts, target: DatasetFacts) -> ClassMap:
    """The classes that two data sets share: those of ``protocols/class_maps``, or else those with the same names by
    :func:`match_names`."""
    if published.has_class_map(source.class_table, target.class_table):
        return published.class_map(source.class_table, target.class_table)
    names = [text.name for text in source.class_texts]
    places = match_names(names, [text.name for text in target.class_texts])
    shared = tuple(
        SharedClass(name=name, source=(label,), target=(place,))
        for label, (name, place) in enumerate(zip(names, places, strict=True))
        if place is not None
    )
    return ClassMap(
        source_table=source.class_table, target_table=target.class_table, source="equal class names", shared=shared
    )


class _NamedClass(Fact):
    """A class that two sets share, and what it is called in each: names, or zero-based labels."""

    name: Words
    source: tuple[Label | str, ...] = Field(min_length=1)
    target: tuple[Label | str, ...] = Field(min_length=1)

    @field_validator("source", "target", mode="before")
    @classmethod
    def _one_or_several(cls, told: object) -> object:
        return [told] if isinstance(told, str | int) else told


class _ClassMapFile(Fact):
    source: Words = "the owner"
    shared: tuple[_NamedClass, ...] = Field(min_length=2)


def class_map_of_file(path: Path, source: DatasetFacts, target: DatasetFacts) -> ClassMap:
    """The classes that two data sets share, by a file of ``[[shared]]`` entries that name them in each.

    Raises :class:`UserError` with the entry that is wrong.
    """
    path = Path(at_home(path))
    file = read_toml(path, _ClassMapFile, "class map")
    try:
        return ClassMap(
            source_table=source.class_table,
            target_table=target.class_table,
            source=file.source,
            shared=tuple(
                SharedClass(
                    name=shared.name,
                    source=tuple(_label(each, source) for each in shared.source),
                    target=tuple(_label(each, target) for each in shared.target),
                )
                for shared in file.shared
            ),
        )
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)[1]}; mend the class map") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _label(told: int | str, facts: DatasetFacts) -> int:
    """The label of a class by its name, or a label itself."""
    names = [text.name for text in facts.class_texts]
    if isinstance(told, int) and told < len(names):
        return told
    label = match_name(str(told), names)
    if label is None:
        raise UserError(unknown(f"class of {facts.name}", str(told), names))
    return label


def _published_splits(table: str) -> Mapping[str, Split]:
    return published.splits(table) if table in published.split_tables() else {}


def _of_card(card: DatasetCard) -> DatasetFacts:
    published = not card.class_texts
    splits = {
        name: Split(
            name=name,
            table=card.name,
            n_classes=len(card.classes),
            unseen=unseen,
            family="own",
            source="the owner's dataset.toml",
        )
        for name, unseen in card.splits.items()
    }
    splits = {**splits_for(card.name, card.classes), **splits}
    return DatasetFacts(
        card.name,
        card.title,
        card.citation,
        card.class_table if published else card.name,
        class_texts(card.class_table).classes if published else card.class_texts,
        card.sides,
        card.default_side,
        _published_splits(card.class_table) if published else splits,
        _collection(card.reader),
    )


def _collection(name: str) -> str:
    """Of a reader, if it is one of a published set: the collection that it names, or its own title."""
    reader = READERS.get(name) if name in READERS else None
    if reader is None or reader.synthetic or not reader.sides:
        return ""
    return reader.collection or reader.title
