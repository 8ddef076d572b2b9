"""The one place that finds tasks: by name, by pattern, by the path of a card, by data sets."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, Literal

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.registry import unknown
from mmcl_bench.core.settings import each_of, parse_bracketed
from mmcl_bench.core.text import FOLDS, fold_number, numbered
from mmcl_bench.protocols.cards import FAMILIES, NAME, PATH, Task, TaskCard, read_card
from mmcl_bench.protocols.splits import splits_of

_BY_PEOPLE = "x-sub"
Splits = tuple[str, ...] | Literal["all"]
"""Names of splits, ``all`` of a task's but folds of its classes, or none for the one that the task names itself.
``fold`` names ``fold-1``, ``fold-2`` and so on, and ``folds`` all that are folds."""


def cards() -> dict[str, TaskCard]:
    """The packaged cards by ``family/name``."""
    found = (read_card(path) for path in sorted(paths.packaged("tasks").glob("*.toml")))
    return {card.path: card for card in found}


def list_tasks(pattern: str = "*", data_root: Path | None = None) -> list[Task]:
    """Every card at its default parameters whose identity or path matches a shell glob, and those of own sets and
    variants in ``data_root``, without transfers."""
    tasks = [card.bind({}) for card in cards().values()]
    if data_root is not None:
        for family, dataset in product(("supervised", "zero-shot"), own_datasets(data_root)):
            with suppress(UserError):  # such as of a set without zero-shot splits
                tasks.append(_derived_card(family, dataset, (), data_root).bind({}, data_root))
    return [t for t in tasks if fnmatch.fnmatchcase(t.identity, pattern) or fnmatch.fnmatchcase(t.card.path, pattern)]


def own_datasets(data_root: Path) -> list[str]:
    """Names of the prepared sets that are not called like a published one: one's own, and variants."""
    from mmcl_bench.datasets.readers import READERS

    found = (path.parent.name for path in sorted(data_root.glob("*/card.json")))
    return [name for name in found if name not in READERS]


def load_task(name: str, data_root: Path | None = None, **parameters: str) -> Task:
    """The task called ``name``, with parameters set by ``[key=value]`` in the name or by keyword.

    ``name`` is an identity, a ``family/name``, a family (its default card), or the path of a card file. A data set
    without a card, such as one of your own in ``data_root``, has the tasks ``supervised/<name>``, ``zero-shot/<name>``
    and ``transfer/<source>-to-<name>``, with several sources ``transfer/<source>-and-<source>-to-<name>``.

    >>> load_task("zero-shot/synth60[split=48/12]").identity
    'zero-shot/synth60@1[split=48/12]'
    """
    root = data_root or paths.data_root()
    if name.endswith(".toml"):
        return _checked(read_card(Path(paths.at_home(name)))).bind(parameters, root)
    path, bracketed = parse_bracketed(name, name)
    return _with_classes(_card_called(path, root).bind({**bracketed, **parameters}, root))


def find_task(
    family: str,
    dataset: str | None,
    source: str | None,
    parameters: Mapping[str, str],
    data_root: Path | None = None,
) -> Task:
    """The task of a family on a data set, from a source where given, or several with commas between: what the command
    line's options name."""
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
    sources = tuple(sorted({name.strip() for name in (source or "").split(",") if name.strip()}))
    for card in cards().values():
        if (card.family, card.dataset, card.sources) == (family, dataset, sources):
            return _with_classes(card.bind(parameters, root))
    return _with_classes(_derived_card(family, str(dataset), sources, root).bind(parameters, root))


def find_tasks(
    name: str, splits: Splits = (), parameters: Mapping[str, str] | None = None, data_root: Path | None = None
) -> list[Task]:
    """The tasks of a name or a pattern, one a split. Under a pattern, tasks without such a split are left out.

    Raises :class:`UserError` where there is none.
    """
    root = data_root or paths.data_root()
    if not is_pattern(name):
        return with_splits(load_task(name, root, **(parameters or {})), splits)
    pattern, bracketed = parse_bracketed(name, name)
    bound = {**bracketed, **(parameters or {})}
    chosen = (bound.pop("split"),) if "split" in bound else splits
    known = cards()
    matching = [card for path, card in known.items() if fnmatch.fnmatchcase(path, pattern)]
    if not matching:
        raise UserError(unknown("task", name, sorted(known)))
    tasks = [card.bind(each, root) for card in matching for each in _for_splits(card, bound, chosen)]
    if not tasks:
        raise UserError(f"{name}: no task like this has a split {' or '.join(chosen)}")
    return tasks


def each_value(parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """Parameters or settings once for every combination of values; those of one have commas between them.

    >>> each_value({"text": "minilm,smollm2[layer=20,pooling=last]"})
    [{'text': 'minilm'}, {'text': 'smollm2[layer=20,pooling=last]'}]
    """
    values = [each_of(text, f"{key}={text}") for key, text in parameters.items()]
    return [dict(zip(parameters, chosen, strict=True)) for chosen in product(*values)]


def with_splits(task: Task, splits: Splits) -> list[Task]:
    """A task once for each of the splits. Raises :class:`UserError` for one that it lacks."""
    return [task.with_split(name) for name in _each_split(task.card, splits)] or [task]


def _each_split(card: TaskCard, splits: Splits) -> list[str]:
    """All splits that are meant: ``fold`` means ``fold-1``, ``fold-2`` and so on."""
    known = card.split_names()
    if splits == "all":
        return [name for name in known if card.family != "zero-shot" or not fold_number(name)] or known
    return [each for name in splits for each in splits_of(name, known) or (name,)]


def require_splits(tasks: Sequence[Task], splits: Splits) -> None:
    """Raises :class:`UserError` for a split that was asked for and that none of the tasks has."""
    for name in () if splits == "all" else splits:
        if not any(name in _names_of(task.split) for task in tasks):
            raise UserError(f"no task here has a split {name}; leave it out, or name a task that has it")


def _names_of(split: str | None) -> list[str]:
    """What calls a split: ``22/5:fold-3``, ``22/5:fold``, ``folds``."""
    told = numbered(split or "")
    return [split or "", *([told[0]] if told else []), *([FOLDS] if fold_number(split) else [])]


def is_pattern(name: str) -> bool:
    """Whether a task's name, up to its brackets, matches several tasks."""
    return any(sign in name.partition("[")[0] for sign in "*?")


def _for_splits(card: TaskCard, parameters: Mapping[str, str], splits: Splits) -> list[Mapping[str, str]]:
    """The parameters once for each of the splits that a card has; as they are where no split is asked for."""
    known = card.split_names()
    if not splits or (splits == "all" and not known):
        return [parameters]
    return [{**parameters, "split": name} for name in _each_split(card, splits) if name in known]


def _card_called(path: str, data_root: Path) -> TaskCard:
    """The card of a family, of ``family/name`` or of ``family/name@version``. Raises :class:`UserError` without one."""
    known = cards()
    if path in FAMILIES:
        return _default_card(path, known)
    match = PATH.fullmatch(path)
    plain = f"{match['family']}/{match['name']}" if match else path
    card = known.get(plain) or (_card_of(match["family"], match["name"], data_root) if match else None)
    if match is None or card is None:
        raise UserError(unknown("task", plain, [*FAMILIES, *sorted(known)]))
    if match["version"] is not None and int(match["version"]) != card.version:
        raise UserError(
            f"{card.path} is at version {card.version}, not {match['version']}; "
            "figures of different versions do not compare, so ask for the version that is here"
        )
    return card


def _card_of(family: str, name: str, data_root: Path) -> TaskCard | None:
    """The card of a task that no file describes; None where its data set is not there."""
    from mmcl_bench.datasets.readers import READERS
    from mmcl_bench.datasets.store import CARD

    def is_there(dataset: str) -> bool:
        return dataset in READERS or (data_root / dataset / CARD).is_file()

    if family == "transfer":
        for trained, target in _parted(name, "-to-"):
            sources = _all_there(trained, is_there)
            if sources and is_there(target):
                return _derived_card(family, target, tuple(sorted(set(sources))), data_root)
        return None
    return _derived_card(family, name, (), data_root) if family in FAMILIES and is_there(name) else None


def _parted(name: str, by: str) -> list[tuple[str, str]]:
    """A name parted in two at each place of ``by``."""
    return [(name[: at.start()], name[at.end() :]) for at in re.finditer(by, name)]


def _all_there(names: str, is_there: Callable[[str], bool]) -> list[str]:
    """The data sets of ``a-and-b-and-c``; none where they are not there."""
    if is_there(names):
        return [names]
    for first, others in _parted(names, "-and-"):
        if is_there(first) and (found := _all_there(others, is_there)):
            return [first, *found]
    return []


def _derived_card(family: str, dataset: str, sources: tuple[str, ...], data_root: Path) -> TaskCard:
    """A card from the facts of the data sets. Raises :class:`UserError` where these do not allow such a task."""
    from mmcl_bench.protocols.dataset_facts import dataset_facts

    tested = dataset_facts(dataset, data_root)
    for name in (dataset, *sources):
        if not re.fullmatch(NAME, name):
            raise UserError(f"{name!r} cannot name a data set; names have lower-case letters, digits and dashes")
    if dataset in sources:
        raise UserError(f"transfer from {dataset} to itself would train on its test clips; name two data sets")
    card: dict[str, Any] = {
        "family": family,
        "name": dataset,
        "version": 2 if family == "supervised" else 3,
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
        titles = [dataset_facts(name, data_root).title for name in sources]
        card |= {
            "name": f"{'-and-'.join(sources)}-to-{dataset}",
            "title": f"From {' and '.join(titles)} to {tested.title}",
            "sources": sources,
            "metrics": ("top1", "macro_top1"),
            "main_metric": "top1",
            # By people where the set has such a side, so that no one is seen beforehand who is then tested.
            "parameters": {"side": _BY_PEOPLE if _BY_PEOPLE in tested.sides else tested.default_side},
        }
    else:
        if not tested.splits:
            raise UserError(
                f"{dataset} has no zero-shot split; name some in its dataset.toml, or in a card of your own"
            )
        described = all(text.global_ for text in tested.class_texts)
        fields = {each.table: each.parameters["fields"] for each in cards().values() if each.family == family}
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
                "fields": fields.get(tested.class_table, "global" if described else "name"),
            },
        }
    return TaskCard.model_validate(card)


def _with_classes(task: Task) -> Task:
    """The task. Raises :class:`UserError` for a transfer between sets that share less than two classes."""
    if task.card.family == "transfer" and not task.by_texts and len(task.shared_classes) < 2:
        names = ", ".join(each.name for each in task.shared_classes)
        raise UserError(
            f"a transfer task needs two classes or more of one name; {' and '.join(task.datasets)} have "
            f"{len(task.shared_classes)}{f' ({names})' if names else ''}; name those that correspond in a file, with "
            "--class-map FILE, or test on all of the target's by their texts, with --parameter classes=texts"
        )
    return task


def _checked(card: TaskCard) -> TaskCard:
    """A user's own card. Raises :class:`UserError` for a metric that its family does not have."""
    from mmcl_bench.evaluation.metrics import require_metric

    for name in card.metrics:
        require_metric(name, card.family, card.path)
    return card


def _default_card(family: str, known: Mapping[str, TaskCard]) -> TaskCard:
    for card in known.values():
        if card.family == family and card.default:
            return card
    raise UserError(f"{family} has no default task; name one of {', '.join(p for p in known if p.startswith(family))}")
