"""Task cards: what is measured, on which data, under which protocol.

A card is one TOML file in ``tasks/``. A card with its parameters bound is a :class:`Task`; its identity, such as
``zero-shot/synth60@1[split=55/5]``, is both its name and the way to ask for it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmcl_bench import facts, paths
from mmcl_bench.errors import UserError
from mmcl_bench.registry import unknown
from mmcl_bench.toml_files import read_toml

if TYPE_CHECKING:
    from mmcl_bench.datasets import DatasetFacts

Family = Literal["supervised", "zero-shot", "transfer"]
FAMILIES: tuple[Family, ...] = ("supervised", "zero-shot", "transfer")
_NEEDED: dict[str, tuple[str, ...]] = {
    "supervised": ("split",),
    "zero-shot": ("split", "side", "text", "fields"),
    "transfer": (),
}
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
    """Supervised: the evaluation sides. Zero-shot: those of the data set where its table is not packaged, else empty,
    for every split of the table. Transfer: empty, no split."""
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
        if missing := [key for key in _NEEDED[self.family] if key not in self.parameters]:
            raise ValueError(f"a {self.family} card has a default for the parameter {missing[0]}")
        known = [*_NEEDED[self.family], *self._options()]
        if strange := [key for key in self.parameters if key not in known]:
            raise ValueError(unknown("parameter", strange[0], known))
        if self.source == self.dataset:
            raise ValueError(f"source and dataset are both {self.dataset}; its clips would train and test")
        return self

    def _options(self) -> Mapping[str, tuple[str, ...]]:
        """The :data:`OPTIONS` that its tasks have."""
        return {} if self.family == "transfer" else OPTIONS

    def split_names(self, tested: DatasetFacts | None = None) -> list[str]:
        """Every value that ``split`` may take."""
        if self.table is not None and not self.splits:
            if tested is not None and tested.class_table == self.table:
                return sorted(tested.splits)
            return sorted(facts.splits(self.table))
        return list(self.splits)

    def bind(
        self, parameters: Mapping[str, str], data_root: Path | None = None, tested: DatasetFacts | None = None
    ) -> Task:
        """A task with some parameters set. Raises :class:`UserError` for one that the card lacks or cannot take.

        ``data_root`` is where data sets are found that no reader knows by name. ``tested`` are the facts of the data
        set, where somebody has read them before.
        """
        options = self._options()
        known = {**{key: values[0] for key, values in options.items()}, **self.parameters}
        for key in parameters:
            if key not in known:
                raise UserError(f"{self.path}: {unknown('parameter', key, sorted(known))}")
        bound = {**known, **parameters}
        for key, values in options.items():
            if bound[key] not in values:
                raise UserError(f"{self.path}: {unknown(f'value of {key}', bound[key], list(values))}")
        names = self.split_names(tested)
        if "split" in bound and bound["split"] not in names:
            raise UserError(f"{self.path}: {unknown('split', bound['split'], names)}")
        return Task(self, bound, data_root or paths.data_root(), tested)


class Task:
    """A card with every parameter bound."""

    def __init__(
        self, card: TaskCard, parameters: Mapping[str, str], data_root: Path, tested: DatasetFacts | None = None
    ) -> None:
        self.card = card
        self.parameters = dict(parameters)
        self._data_root = data_root
        if tested is not None:
            self._tested = tested

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
        return {
            key: value
            for key, value in self.parameters.items()
            if key in self.card.parameters or key not in OPTIONS or value != OPTIONS[key][0]
        }

    def _facts(self) -> dict[str, Any]:
        """The side's numbers, the split's lists and the class texts, or the class map."""
        if self.card.source is not None:
            return {"shared": [each.model_dump() for each in self.class_map.shared]}
        sides = self._tested.sides
        side_name = self.parameters["side" if self.card.table else "split"]
        if side_name not in sides:
            raise UserError(f"{self.card.path}: {unknown('side', side_name, sorted(sides))}")
        side = sides[side_name].model_dump(include={"column", "train", "test"})
        if self.card.table is None:
            return {"side": side}
        return {
            "side": side,
            "unseen": self.zero_shot_split.unseen,
            "validation_unseen": self.zero_shot_split.validation_unseen,
            "texts": self.class_texts(),
        }

    @cached_property
    def _tested(self) -> DatasetFacts:
        """The facts of the data set that is tested on."""
        from mmcl_bench.datasets import dataset_facts

        return dataset_facts(self.card.dataset, self._data_root)

    @cached_property
    def zero_shot_split(self) -> facts.Split:
        """Zero-shot: which classes are unseen."""
        return self._tested.split(self.parameters["split"])

    @cached_property
    def class_map(self) -> facts.ClassMap:
        """Transfer: the classes that source and target share."""
        from mmcl_bench.datasets import class_map, dataset_facts

        return class_map(dataset_facts(str(self.card.source), self._data_root), self._tested)

    def class_texts(self) -> tuple[str, ...]:
        """Zero-shot: what is embedded for each class, from the fields that the parameter ``fields`` joins by ``+``."""
        fields = self.parameters["fields"].split("+")
        return tuple(text.text(fields) for text in self._tested.class_texts)

    def __repr__(self) -> str:
        return self.identity


def read_card(path: Path) -> TaskCard:
    """Reads one card. Raises :class:`UserError` with the file and the field that is wrong."""
    return read_toml(path, TaskCard, "task card")


def cards() -> dict[str, TaskCard]:
    """The packaged cards by ``family/name``."""
    found = (read_card(path) for path in sorted(paths.packaged("tasks").glob("*.toml")))
    return {card.path: card for card in found}


def list_tasks(pattern: str = "*") -> list[Task]:
    """Every card at its default parameters whose identity or path matches a shell glob."""
    tasks = (card.bind({}) for card in cards().values())
    return [t for t in tasks if fnmatch.fnmatchcase(t.identity, pattern) or fnmatch.fnmatchcase(t.card.path, pattern)]


def load_task(name: str, data_root: Path | None = None, **parameters: str) -> Task:
    """The task called ``name``, with parameters set by ``[key=value]`` in the name or by keyword.

    ``name`` is an identity, a ``family/name``, a family (its default card), or the path of a card file. A data set
    without a card, such as one of your own in ``data_root``, has the tasks ``supervised/<name>``, ``zero-shot/<name>``
    and ``transfer/<source>-to-<name>``.

    >>> load_task("zero-shot/synth60[split=48/12]").identity
    'zero-shot/synth60@1[split=48/12]'
    """
    root = data_root or paths.data_root()
    if name.endswith(".toml"):
        return _checked(read_card(Path(name))).bind(parameters, root)
    known = cards()
    if name in FAMILIES:
        return _default_card(name, known).bind(parameters, root)
    match = _IDENTITY.fullmatch(name)
    path = f"{match['family']}/{match['name']}" if match else name
    card = known.get(path) or (_card_of(match["family"], match["name"], root) if match else None)
    if match is None or card is None:
        raise UserError(unknown("task", path, [*FAMILIES, *sorted(known)]))
    if match["version"] is not None and int(match["version"]) != card.version:
        raise UserError(
            f"{card.path} is at version {card.version}, not {match['version']}; "
            "figures of different versions do not compare, so ask for the version that is here"
        )
    return card.bind({**_parse_parameters(match["parameters"] or "", name), **parameters}, root)


def find_task(
    family: str,
    dataset: str | None,
    source: str | None,
    parameters: Mapping[str, str],
    data_root: Path | None = None,
) -> Task:
    """The task of a family on a data set, from a source where given: what the command line's options name."""
    root = data_root or paths.data_root()
    if "/" in family or family.endswith(".toml"):
        if dataset is not None or source is not None:
            raise UserError(f"{family} names its data itself; leave out --dataset, --source and --target")
        return load_task(family, root, **parameters)
    if family not in FAMILIES:
        raise UserError(unknown("task", family, [*FAMILIES, *sorted(cards())]))
    if source is not None and family != "transfer":
        raise UserError(f"{family} trains and tests on one data set; --source is for transfer, so give --dataset alone")
    if dataset is None and source is None:
        return load_task(family, root, **parameters)
    if family == "transfer" and (dataset is None or source is None):
        raise UserError("transfer goes from one data set to another; give both --source and --target")
    for card in cards().values():
        if (card.family, card.dataset, card.source) == (family, dataset, source):
            return card.bind(parameters, root)
    return _derived_card(family, str(dataset), source, root).bind(parameters, root)


def _card_of(family: str, name: str, data_root: Path) -> TaskCard | None:
    """The card of a task that no file describes; None where its data set is not there."""
    from mmcl_bench.skeleton.readers import READERS
    from mmcl_bench.skeleton.store import CARD

    def is_there(dataset: str) -> bool:
        return dataset in READERS or (data_root / dataset / CARD).is_file()

    if family == "transfer":
        parts = name.split("-to-")
        for at in range(1, len(parts)):
            source, target = "-to-".join(parts[:at]), "-to-".join(parts[at:])
            if is_there(source) and is_there(target):
                return _derived_card(family, target, source, data_root)
        return None
    return _derived_card(family, name, None, data_root) if family in FAMILIES and is_there(name) else None


def _derived_card(family: str, dataset: str, source: str | None, data_root: Path) -> TaskCard:
    """A card from what is known of the data sets. Raises :class:`UserError` where that does not make a task."""
    from mmcl_bench.datasets import class_map, dataset_facts

    tested = dataset_facts(dataset, data_root)
    for name in filter(None, (dataset, source)):
        if not re.fullmatch(_NAME, name):
            raise UserError(f"{name!r} cannot name a data set; names have lower-case letters, digits and dashes")
    if source == dataset:
        raise UserError(f"transfer from {dataset} to itself would train on its test clips; name two data sets")
    card: dict[str, Any] = {
        "family": family,
        "name": dataset,
        "version": 1,
        "dataset": dataset,
        "seeds": 5,
        "citation": tested.citation,
    }
    if family == "supervised":
        card |= {
            "title": f"Supervised recognition on {tested.title}",
            "splits": tuple(tested.sides),
            "metrics": ("top1", "top5", "macro_top1"),
            "main_metric": "top1",
            "parameters": {"split": tested.default_side},
        }
    elif family == "transfer":
        trained = dataset_facts(str(source), data_root)
        class_map(trained, tested)
        card |= {
            "name": f"{source}-to-{dataset}",
            "title": f"From {trained.title} to {tested.title}, without adaptation",
            "source": source,
            "metrics": ("top1", "macro_top1"),
            "main_metric": "top1",
        }
    else:
        if not tested.splits:
            raise UserError(
                f"{dataset} has no zero-shot split; name some in its dataset.toml, or in a card of your own"
            )
        described = all(text.global_ for text in tested.class_texts)
        card |= {
            "title": f"Zero-shot recognition on {tested.title}",
            "table": tested.class_table,
            "splits": tuple(tested.splits),
            "metrics": ("zsl_top1", "zsl_macro_top1", "gzsl_seen", "gzsl_unseen", "gzsl_h", "ausuc"),
            "main_metric": "zsl_top1",
            "parameters": {
                "split": next(iter(tested.splits)),
                "side": tested.default_side,
                "text": "minilm",
                "fields": "global" if described else "name",
            },
        }
    return TaskCard.model_validate(card)


def _checked(card: TaskCard) -> TaskCard:
    """A card that somebody wrote, whose metrics its family has. Raises :class:`UserError` for one that it lacks."""
    from mmcl_bench.metrics import require_metric

    for name in card.metrics:
        require_metric(name, card.family, card.path)
    return card


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
