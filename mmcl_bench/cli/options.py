"""Options that several verbs read alike, each declared once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcl_bench.cli import completion
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.grants import Setting

if TYPE_CHECKING:
    from mmcl_bench.protocols.cards import Task
    from mmcl_bench.running.runner import RunSite

SETTING_NAMES = ", ".join(Setting)
"""For help; rich cuts the longest of them where they stand as a choice between bars."""
Preset = Annotated[
    str,
    typer.Option(
        help="quick: minutes on two cores. paper: the published settings. strong: of networks, as quick but longer."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Override a setting of the methods that have it, as key=value. Repeatable.",
    ),
]
Limit = Annotated[int | None, typer.Option(help="Keep that many clips a side: a smoke run, never ranked.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out clips that cannot be used, and say which, instead of stopping.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        envvar=paths.DATA_ROOT_VARIABLE,
        help="Folder of prepared data sets and caches; the user's data folder when not given.",
        file_okay=False,
    ),
]
Results = Annotated[Path | None, typer.Option("--results", envvar=paths.RESULTS_VARIABLE, help="Folder of results.")]


def takes_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Decorator of a verb: of a parameter that is a dataclass, each field is an option on the command line.

    >>> @takes_options
    ... def look(site: SiteOptions, loud: bool = False) -> None: ...
    >>> list(inspect.signature(look).parameters)
    ['device', 'data_root', 'results', 'loud']
    """
    shown: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        if dataclasses.is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            shown += _fields(parameter.annotation)
        else:
            shown.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(verb)
    def command(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        verb(**given)

    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def _fields(group: Any) -> list[inspect.Parameter]:
    """The fields of a dataclass as keyword parameters."""
    kinds = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name]
        )
        for field in dataclasses.fields(group)
    ]


@dataclass(frozen=True)
class SiteOptions:
    """Where jobs are run and kept."""

    device: Device = "auto"
    data_root: DataRoot = None
    results: Results = None

    def site(self, scalars: Path | None = None) -> RunSite:
        """The site; training's scalars are written to ``scalars``. Raises :class:`UserError` for an unknown device."""
        from mmcl_bench.core.compute import find_device
        from mmcl_bench.running.runner import RunSite

        root, results_root = paths.data_root(self.data_root), paths.results_root(self.results)
        return RunSite(root, results_root, find_device(self.device), scalars=scalars, any_device=self.device == "auto")


@dataclass(frozen=True)
class TaskOptions:
    """What is set of a task beside its name."""

    split: Annotated[str | None, typer.Option(help="Split of the task, such as 55/5, 55/5:smie-1 or x-view.")] = None
    dataset: Annotated[
        str | None, typer.Option(help="Data set of the family's task.", autocompletion=completion.datasets)
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            help="Transfer: the data set to train on, or several with commas between.",
            autocompletion=completion.datasets,
        ),
    ] = None
    target: Annotated[
        str | None, typer.Option(help="Transfer: the data set to test on.", autocompletion=completion.datasets)
    ] = None
    duplicates: Annotated[
        str | None,
        typer.Option(help="removed: without the test clips that equal a training clip; a task version of its own."),
    ] = None
    class_map: Annotated[
        Path | None,
        typer.Option(help="Transfer: a file of the classes that correspond, in the place of those of equal names."),
    ] = None
    shots: Annotated[
        int | None,
        typer.Option(help="Transfer: labelled target clips of each class that few-shot methods get; 5 when not given."),
    ] = None
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            help="Set a task's parameter, as key=value, such as text=clip:ViT-B-32. Repeatable.",
        ),
    ] = None

    def find(self, name: str, data_root: Path | None) -> Task:
        """The task of that name. Raises :class:`UserError` where there is none."""
        from mmcl_bench.protocols.catalogue import find_task

        if self.target is not None and self.dataset is not None:
            raise UserError("--target and --dataset both name the data set to test on; give one")
        bound = self.bound() | ({"split": self.split} if self.split is not None else {})
        return find_task(name, self.target or self.dataset, self.source, bound, paths.data_root(data_root))

    def bound(self) -> dict[str, str]:
        """The parameters that are set, but for the split."""
        bound = key_values("--parameter", self.parameters)
        given = {"duplicates": self.duplicates, "class_map": self.class_map, "shots": self.shots}
        return bound | {key: str(value) for key, value in given.items() if value is not None}


def key_values(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """What a repeatable ``key=value`` option says. Raises :class:`UserError` for one without the equals sign."""
    pairs = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {text}: expected key=value")
        pairs[key] = value
    return pairs


def names(text: str) -> list[str]:
    """What an option with commas between its values says."""
    return [name.strip() for name in text.split(",") if name.strip()]
