"""Task cards: what is measured, on which data, under which protocol.

A card is one TOML file in ``tasks/``. A card with its parameters bound is a :class:`Task`; its identity, such as
``zero-shot/synth60@1[split=55/5]``, is both its name and the way to ask for it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmcl_bench import facts, paths
from mmcl_bench.errors import UserError
from mmcl_bench.registry import unknown

Family = Literal["supervised", "zero-shot", "transfer"]
FAMILIES: tuple[Family, ...] = ("supervised", "zero-shot", "transfer")
OPTIONS: dict[str, tuple[str, ...]] = {"duplicates": ("kept", "removed")}
"""Parameters that every supervised and zero-shot task has beside those of its card, with the values that they take; the
first is the default. ``duplicates``: whether test clips that equal a training clip in every number stay."""
_NAME = r"[a-z0-9][a-z0-9-]*"
_IDENTITY = re.compile(rf"(?P<family>{_NAME})/(?P<name>{_NAME})(?:@(?P<version>\d+))?(?:\[(?P<parameters>[^\]]*)\])?")


class TaskCard(BaseModel):
    """The content of one file in ``tasks/``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: Family
    name: str = Field(pattern=f"^{_NAME}$")
    version: int = Field(ge=1)
    """Raised by any change that changes a score; tables never mix versions."""
    title: str
    dataset: str
    """The data set that is tested on (and trained on, but for transfer)."""
    source: str | None = None
    """Transfer: the data set that is trained on."""
    table: str | None = None
    """Zero-shot: the class table whose splits apply."""
    splits: tuple[str, ...] = ()
    """Supervised: the evaluation sides. Zero-shot: empty, every split of the table. Transfer: empty, no split."""
    default: bool = False
    """Whether the family alone names this card."""
    parameters: dict[str, str] = {}
    """Defaults of what may be set: split; zero-shot also side, text (encoder) and fields (of the descriptions)."""
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
        if (self.family == "transfer") != (self.source is not None):
            raise ValueError("a transfer card names a source, and no other card does")
        return self

    def split_names(self) -> list[str]:
        """Every value that ``split`` may take."""
        if self.table is not None:
            return sorted(facts.splits(self.table))
        return list(self.splits)

    def bind(self, parameters: Mapping[str, str]) -> Task:
        """A task with some parameters set. Raises :class:`UserError` for one that the card lacks or cannot take."""
        options = {} if self.family == "transfer" else OPTIONS
        known = {**{key: values[0] for key, values in options.items()}, **self.parameters}
        for key in parameters:
            if key not in known:
                raise UserError(f"{self.path}: {unknown('parameter', key, sorted(known))}")
        bound = {**known, **parameters}
        for key, values in options.items():
            if bound[key] not in values:
                raise UserError(f"{self.path}: {unknown(f'value of {key}', bound[key], list(values))}")
        if "split" in bound and bound["split"] not in self.split_names():
            raise UserError(f"{self.path}: {unknown('split', bound['split'], self.split_names())}")
        return Task(self, bound)


class Task:
    """A card with every parameter bound."""

    def __init__(self, card: TaskCard, parameters: Mapping[str, str]) -> None:
        self.card = card
        self.parameters = dict(parameters)

    @property
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

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the data sets it needs: the source first, where there is one."""
        return (self.card.source, self.card.dataset) if self.card.source else (self.card.dataset,)

    @cached_property
    def hash(self) -> str:
        """sha256 over all that decides a score beside data and method: card, parameters, and the facts they name."""
        content = self.card.model_dump(mode="json", exclude={"title", "citation", "default", "seeds", "splits"})
        content["parameters"] = self._deciding()
        content["facts"] = self._facts()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _deciding(self) -> dict[str, str]:
        """The parameters without options at their default, so that a new option leaves names and hashes as they are."""
        return {key: value for key, value in self.parameters.items() if key not in OPTIONS or value != OPTIONS[key][0]}

    def _facts(self) -> dict[str, Any]:
        """The side's numbers, the split's lists and the class texts, or the class map."""
        from mmcl_bench.skeleton.readers import READERS

        readers = [READERS.get(name) for name in self.datasets]
        if self.card.source is not None:
            shared = facts.class_map(readers[0].class_table, readers[1].class_table).shared
            return {"shared": [each.model_dump() for each in shared]}
        side_name = self.parameters["side" if self.card.table else "split"]
        if side_name not in readers[0].sides:
            raise UserError(f"{self.card.path}: {unknown('side', side_name, sorted(readers[0].sides))}")
        side = readers[0].sides[side_name].model_dump(include={"column", "train", "test"})
        if self.card.table is None:
            return {"side": side}
        split = facts.split(self.card.table, self.parameters["split"])
        return {
            "side": side,
            "unseen": split.unseen,
            "validation_unseen": split.validation_unseen,
            "texts": self.class_texts(),
        }

    def class_texts(self) -> tuple[str, ...]:
        """Zero-shot: what is embedded for each class, from the fields that the parameter ``fields`` joins by ``+``."""
        fields = self.parameters["fields"].split("+")
        return tuple(text.text(fields) for text in facts.class_texts(str(self.card.table)).classes)

    def __repr__(self) -> str:
        return self.identity


def read_card(path: Path) -> TaskCard:
    """Reads one card. Raises :class:`UserError` with the file and the field that is wrong."""
    try:
        return TaskCard.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a readable task card ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "card"
        raise UserError(f"{path}: {where}: {first['msg']}; mend the card") from error


def cards() -> dict[str, TaskCard]:
    """The packaged cards by ``family/name``."""
    found = (read_card(path) for path in sorted(paths.packaged("tasks").glob("*.toml")))
    return {card.path: card for card in found}


def list_tasks(pattern: str = "*") -> list[Task]:
    """Every card at its default parameters whose identity or path matches a shell glob."""
    tasks = (card.bind({}) for card in cards().values())
    return [t for t in tasks if fnmatch.fnmatchcase(t.identity, pattern) or fnmatch.fnmatchcase(t.card.path, pattern)]


def load_task(name: str, **parameters: str) -> Task:
    """The task called ``name``, with parameters set by ``[key=value]`` in the name or by keyword.

    ``name`` is an identity, a ``family/name``, a family (its default card), or the path of a card file.

    >>> load_task("zero-shot/synth60[split=48/12]").identity
    'zero-shot/synth60@1[split=48/12]'
    """
    if name.endswith(".toml"):
        return read_card(Path(name)).bind(parameters)
    known = cards()
    if name in FAMILIES:
        return _default_card(name, known).bind(parameters)
    match = _IDENTITY.fullmatch(name)
    if match is None or match["family"] + "/" + match["name"] not in known:
        path = f"{match['family']}/{match['name']}" if match else name
        raise UserError(unknown("task", path, [*FAMILIES, *sorted(known)]))
    card = known[f"{match['family']}/{match['name']}"]
    if match["version"] is not None and int(match["version"]) != card.version:
        raise UserError(
            f"{card.path} is at version {card.version}, not {match['version']}; "
            "figures of different versions do not compare, so ask for the version that is here"
        )
    return card.bind({**_parse_parameters(match["parameters"] or "", name), **parameters})


def find_task(family: str, dataset: str | None, source: str | None, parameters: Mapping[str, str]) -> Task:
    """The task of a family on a data set, from a source where given: what the command line's options name."""
    if "/" in family or family.endswith(".toml"):
        return load_task(family, **parameters)
    if family not in FAMILIES:
        raise UserError(unknown("task", family, [*FAMILIES, *sorted(cards())]))
    if dataset is None and source is None:
        return load_task(family, **parameters)
    of_family = [card for card in cards().values() if card.family == family]
    for card in of_family:
        if (dataset is None or card.dataset == dataset) and card.source == (source if family == "transfer" else None):
            return card.bind(parameters)
    if family == "transfer":
        pairs = [f"--source {card.source} --target {card.dataset}" for card in of_family]
        raise UserError(f"no transfer task from {source} to {dataset}; there are: {'; '.join(pairs)}")
    raise UserError(f"{family}: {unknown('data set', str(dataset), sorted({card.dataset for card in of_family}))}")


def _default_card(family: str, known: Mapping[str, TaskCard]) -> TaskCard:
    for card in known.values():
        if card.family == family and card.default:
            return card
    raise UserError(f"{family} has no default task; name one of {', '.join(p for p in known if p.startswith(family))}")


def _parse_parameters(text: str, name: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    for key, equals, _ in pairs:
        if not equals:
            raise UserError(f"{name}: {key!r} in the brackets is not key=value")
    return {key.strip(): value.strip() for key, _, value in pairs}
