"""Task cards: what is measured, on which data, under which protocol.

A card is one TOML file in ``tasks/``. A card with its parameters bound is a :class:`Task`; its identity, such as
``zero-shot/synth60@1[split=55/5]``, is both its name and the way to ask for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.records import read_toml
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.text import FOLDS, with_folds_together
from mmcl_bench.protocols import splits

if TYPE_CHECKING:
    from mmcl_bench.datasets.classes import ClassText
    from mmcl_bench.protocols.correspondence import CommonClass
    from mmcl_bench.protocols.dataset_facts import DatasetFacts

Family = Literal["supervised", "zero-shot", "transfer"]
FAMILIES: tuple[Family, ...] = ("supervised", "zero-shot", "transfer")
_NEEDED: dict[str, tuple[str, ...]] = {
    "supervised": ("split",),
    "zero-shot": ("split", "side", "text", "fields"),
    "transfer": ("side",),
}
CLASS_MAP = "class_map"
_DUPLICATES: dict[str, tuple[str, ...]] = {"duplicates": ("kept", "removed")}
UNSEEN_CLIPS, ALL_UNSEEN = "unseen_clips", "all"
TESTED, TEST_SIDE = "tested", "test-side"
VALIDATION_PARTS = tuple(f"validation-{part}" for part in range(1, 6))
_TRANSFER: dict[str, tuple[str, ...]] = {
    "classes": ("shared", "texts"),
    "shots": ("5",),
    CLASS_MAP: ("",),
    "text": ("minilm",),
    "fields": ("global",),
}
OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "supervised": {
        **_DUPLICATES,
        "labels": ("100%", "50%", "25%", "10%"),
        TESTED: (TEST_SIDE, *VALIDATION_PARTS),
    },
    "zero-shot": {**_DUPLICATES, UNSEEN_CLIPS: (TEST_SIDE, ALL_UNSEEN)},
    "transfer": _TRANSFER,
}
"""Parameters that every task of a family has beside those of its card, each with its values, the default first; where
there is one value, any other may be given.

``duplicates``: whether test clips that equal a training clip in every number stay. ``labels``: the share of the
training clips of each class that have a label; the others do not train, but for methods that read them without one.
``tested``: the test side, or a part of the training side in its place, so that settings can be chosen.
``unseen_clips``: the clips of unseen classes that are tested, of the test side or of both; no method trains on them.
``classes``: those that source and
target share, or all of the target, known by their texts; then ``text`` is the encoder, and ``fields`` what it reads.
``shots``: labelled clips of each class that few-shot methods get. ``class_map``: a file of the classes that correspond,
in the place of those that :func:`.dataset_facts.class_map` finds."""
TEXT_METRICS = ("top5", "top1_counterpart", "top1_new")
"""Metrics of a transfer task beside those of its card where the classes are known by their texts."""
NAME = r"[a-z0-9][a-z0-9-]*"
PATH = re.compile(rf"(?P<family>{NAME})/(?P<name>{NAME})(?:@(?P<version>\d+))?")


class TaskCard(BaseModel):
    """The content of one file in ``tasks/``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family
    name: str = Field(pattern=f"^{NAME}$")
    version: int = Field(ge=1)
    """Increased by any change that changes a score; tables never mix versions."""
    title: str
    dataset: str
    """The data set for testing, and for training except in transfer."""
    sources: tuple[str, ...] = ()
    """Transfer: the data sets that are trained on, sorted."""
    table: str | None = None
    """Zero-shot: the class table whose splits apply."""
    splits: tuple[str, ...] = ()
    """Supervised: the evaluation sides. Zero-shot: those of the data set where its table is not packaged, else empty,
    for every split of the table. Transfer: empty, no split."""
    default: bool = False
    """Whether this is the card of the family's name alone."""
    parameters: dict[str, str] = {}
    """Defaults of what may be set: split; zero-shot also side, text (encoder) and fields (of the descriptions);
    transfer: side (of the target)."""
    metrics: tuple[str, ...]
    main_metric: str
    seeds: int = Field(ge=1)
    """Seeds a full run has."""
    citation: str

    @property
    def path(self) -> str:
        return f"{self.family}/{self.name}"

    @model_validator(mode="after")
    def _consistent(self) -> TaskCard:
        if self.main_metric not in self.metrics:
            raise ValueError(f"main_metric {self.main_metric} is not among metrics")
        if (self.family == "zero-shot") != (self.table is not None):
            raise ValueError("a zero-shot card names a table of splits, and no other card does")
        if (self.family == "transfer") != bool(self.sources):
            raise ValueError("a transfer card names its sources, and no other card does")
        if missing := [key for key in _NEEDED[self.family] if key not in self.parameters]:
            raise ValueError(f"a {self.family} card has a default for the parameter {missing[0]}")
        known = [*_NEEDED[self.family], *OPTIONS[self.family]]
        if strange := [key for key in self.parameters if key not in known]:
            raise ValueError(unknown("parameter", strange[0], known))
        if self.dataset in self.sources:
            raise ValueError(f"source and dataset are both {self.dataset}; its clips would train and test")
        if list(self.sources) != sorted(set(self.sources)):
            raise ValueError(f"sources {', '.join(self.sources)} are not sorted, or one is there twice")
        return self

    def split_names(self) -> list[str]:
        """Every value that ``split`` may take."""
        if self.table is not None and not self.splits:
            return sorted(splits.splits(self.table))
        return list(self.splits)

    def bind(self, parameters: Mapping[str, str], data_root: Path | None = None) -> Task:
        """A task with some parameters set. Raises :class:`UserError` for an unknown parameter or an invalid value.

        ``data_root`` is where data sets are found that no reader knows by name.
        """
        options = OPTIONS[self.family]
        known = {**{key: values[0] for key, values in options.items()}, **self.parameters}
        for key in parameters:
            if key not in known:
                raise UserError(f"{self.path}: {unknown('parameter', key, sorted(known))}")
        bound = {**known, **parameters}
        for key, values in options.items():
            if len(values) > 1 and bound[key] not in values:
                raise UserError(f"{self.path}: {unknown(f'value of {key}', bound[key], list(values))}")
        if "text" in parameters:
            from mmcl_bench.encoders import canonical_spec

            bound["text"] = canonical_spec(bound["text"])
        if self.family == "transfer":
            self._check_transfer(bound)
        names = self.split_names()
        if "split" in bound and bound["split"] not in names:
            if several := splits.splits_of(bound["split"], names):
                raise UserError(
                    f"{self.path}: {bound['split']} is the {len(several)} splits {several[0]} to {several[-1]}; "
                    f"name one of them, or run them all with --splits {bound['split']}"
                )
            if bound["split"] == FOLDS:
                raise UserError(
                    f"{self.path} has no folds of its classes; leave out --splits {FOLDS}, or name other splits: "
                    f"{', '.join(names) or 'it has none'}"
                )
            raise UserError(f"{self.path}: {unknown('split', bound['split'], with_folds_together(names))}")
        return Task(self, bound, data_root or paths.data_root())

    def _check_transfer(self, bound: Mapping[str, str]) -> None:
        if strange := set(bound[CLASS_MAP]) & set("[],="):
            raise UserError(f"{bound[CLASS_MAP]}: a task's name cannot hold {min(strange)}; rename the class map")
        if bound[CLASS_MAP] and len(self.sources) > 1:
            raise UserError(f"{self.path}: a class map is of one source; leave it out, or name one source")
        if not re.fullmatch("[1-9][0-9]{0,3}", bound["shots"]):
            raise UserError(f"{self.path}: shots={bound['shots']}: how many labelled clips of each class, from 1 on")
        for key in ("text", "fields"):
            if bound["classes"] == "shared" and bound[key] != OPTIONS[self.family][key][0]:
                raise UserError(f"{self.path}: {key} is for classes that are known by texts; add classes=texts")


class Task:
    """A card with every parameter bound."""

    def __init__(self, card: TaskCard, parameters: Mapping[str, str], data_root: Path) -> None:
        self.card = card
        self.parameters = dict(parameters)
        self._data_root = data_root

    @cached_property
    def identity(self) -> str:
        """``family/name@version[key=value]``: the split always, other parameters where they are not the default."""
        shown = {k: v for k, v in self._deciding().items() if k == "split" or v != self.card.parameters.get(k)}
        listed = ",".join(
            f"{key}={value}" for key, value in sorted(shown.items(), key=lambda kv: (kv[0] != "split", kv))
        )
        return f"{self.card.path}@{self.card.version}" + (f"[{listed}]" if listed else "")

    @property
    def split(self) -> str | None:
        return self.parameters.get("split")

    def with_split(self, name: str) -> Task:
        """This task with another split. Raises :class:`UserError` for one that it lacks."""
        return self.card.bind({**self.parameters, "split": name}, self._data_root)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets it needs: the sources first, where there are some."""
        return (*self.card.sources, self.card.dataset)

    @property
    def by_texts(self) -> bool:
        """Whether it is a transfer to all classes of the target, which are known by their texts."""
        return self.parameters.get("classes") == "texts"

    @property
    def protocol(self) -> str:
        """The name of its protocol."""
        return "transfer-texts" if self.by_texts else self.card.family

    @property
    def method_family(self) -> Family:
        """What it is to a method: a transfer by texts is a zero-shot task."""
        return "zero-shot" if self.by_texts else self.card.family

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*self.card.metrics, *(TEXT_METRICS if self.by_texts else ()))

    @cached_property
    def hash(self) -> str:
        """sha256 over everything that determines a score besides data and method: card, parameters, facts they name."""
        left_out = {"title", "citation", "default", "seeds", "splits", "sources"}
        content = self.card.model_dump(mode="json", exclude=left_out) | {"source": self.card.sources or None}
        content["parameters"] = {key: value for key, value in self._deciding().items() if key != CLASS_MAP}
        content["facts"] = self._facts()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def draws_hash(self) -> str:
        """The hash under the card's own text encoder, the usual test clips and the usual number of few-shot clips. What
        is held out and shared follows from it, so that jobs with other ones differ in nothing else."""
        usual = {**{key: values[0] for key, values in OPTIONS[self.card.family].items()}, **self.card.parameters}
        kept = {key: usual[key] for key in ("text", UNSEEN_CLIPS, "shots") if key in usual}
        changed = {key: value for key, value in kept.items() if self.parameters.get(key, value) != value}
        if not changed:
            return self.hash
        return self.card.bind({**self.parameters, **changed}, self._data_root).hash

    def _deciding(self) -> dict[str, str]:
        """The parameters without options at their default, so that a new option leaves names and hashes as they are."""
        return {
            key: value
            for key, value in self.parameters.items()
            if key in self.card.parameters or value != OPTIONS[self.card.family][key][0]
        }

    def _facts(self) -> dict[str, Any]:
        """The side's numbers, and the split's lists, the class map or the class texts."""
        sides = self._tested.sides
        side_name = self.parameters["split" if self.card.family == "supervised" else "side"]
        if side_name not in sides:
            raise UserError(f"{self.card.path}: {unknown('side', side_name, sorted(sides))}")
        side = sides[side_name].model_dump(include={"column", "train", "test"})
        if self.card.family == "supervised":
            return {"side": side}
        if self.card.family == "transfer":
            shared = [[each.name, dict(each.labels)] for each in self.shared_classes]
            joined = [[dict(each.labels), text.name] for each, text in self.source_classes] if self.by_texts else []
            texts = {"texts": self.by_texts and self.class_texts()} | (self._centre() if self.by_texts else {})
            return {"side": side, "shared": shared, "joined": joined, **texts}
        return {
            "side": side,
            "unseen": self.zero_shot_split.unseen,
            "validation_unseen": self.zero_shot_split.validation_unseen,
            "texts": self.class_texts(),
            **self._centre(),
        }

    def _centre(self) -> dict[str, str]:
        """Of which texts the encoder subtracts the mean; empty where it does not."""
        from mmcl_bench.encoders import centres

        return {"centre": "seen classes"} if centres(self.parameters["text"]) else {}

    @cached_property
    def _tested(self) -> DatasetFacts:
        """The facts of the data set that is tested on."""
        from mmcl_bench.protocols.dataset_facts import dataset_facts

        return dataset_facts(self.card.dataset, self._data_root)

    @cached_property
    def zero_shot_split(self) -> splits.Split:
        """Zero-shot: which classes are unseen."""
        return self._tested.split(self.parameters["split"])

    @cached_property
    def _trained(self) -> tuple[DatasetFacts, ...]:
        """Transfer: the facts of the sources. Refuses two sets, the target among them, of the same recordings in
        different forms."""
        from mmcl_bench.protocols.dataset_facts import dataset_facts

        sources = tuple(dataset_facts(name, self._data_root) for name in self.card.sources)
        for one, other in combinations((*sources, self._tested), 2):
            if one.collection and one.collection == other.collection:
                raise UserError(
                    f"{self.card.path}: {one.name} and {other.name} are both {one.collection}, so that the same "
                    "recordings would train and be tested or held out; choose sets of other recordings"
                )
        return sources

    @cached_property
    def shared_classes(self) -> tuple[CommonClass, ...]:
        """Transfer: the classes that the target shares with its sources."""
        from mmcl_bench.protocols.correspondence import shared_classes
        from mmcl_bench.protocols.dataset_facts import class_map, class_map_of_file

        file = self.parameters[CLASS_MAP]
        maps = {
            trained.name: class_map_of_file(Path(file), trained, self._tested)
            if file
            else class_map(trained, self._tested)
            for trained in self._trained
        }
        return shared_classes(maps, self.card.dataset)

    @cached_property
    def source_classes(self) -> tuple[tuple[CommonClass, ClassText], ...]:
        """Transfer: all classes of the sources."""
        from mmcl_bench.protocols.correspondence import joined_classes

        return joined_classes(self._trained)

    def class_texts(self) -> tuple[str, ...]:
        """Zero-shot: what is embedded for each class, from the fields that the parameter ``fields`` joins by ``+``."""
        fields = self.parameters["fields"].split("+")
        return tuple(text.text(fields) for text in self.class_descriptions())

    def hash_of_texts(self, slots: Sequence[str]) -> str:
        """sha256 of the texts of some slots, for all classes."""
        texts = [[each.slot(slot)[0] for slot in slots] for each in self.class_descriptions()]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    def class_descriptions(self) -> tuple[ClassText, ...]:
        """Everything that is written of each class: of the sources, in a transfer by texts, and of the data set that is
        tested on."""
        trained = tuple(text for _, text in self.source_classes) if self.by_texts else ()
        return trained + self._tested.class_texts

    def __repr__(self) -> str:
        return self.identity


def read_card(path: Path) -> TaskCard:
    """Reads one card. Raises :class:`UserError` with the file and the field that is wrong."""
    return read_toml(path, TaskCard, "task card")
