"""Options that several verbs read alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError

TaskName = Annotated[
    str,
    typer.Argument(
        help="A family (supervised, zero-shot, transfer), a task such as 'zero-shot/synth60[split=55/5]', "
        "or the path of a task card."
    ),
]
TaskNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TASK]...",
        help="Families, tasks such as 'zero-shot/synth60[split=55/5]', paths of task cards, or patterns such as "
        "'zero-shot/*'.",
    ),
]
Methods = Annotated[
    str | None,
    typer.Option("--method", "--methods", help="Method, or several with commas between; mmcl when not given."),
]
Splits = Annotated[
    str | None, typer.Option(help="all: every split of the tasks; or some with commas between. One job for each.")
]
Suite = Annotated[
    str | None,
    typer.Option(
        help="In the place of tasks: a suite file, or one that comes with the package: embedded, small-real or gate. "
        "--methods then keeps some of its methods; --seeds, --limit and --preset take the place of its own."
    ),
]
Split = Annotated[str | None, typer.Option(help="Split of the task, such as 55/5, 55/5:smie-1 or x-view.")]
Dataset = Annotated[str | None, typer.Option(help="Data set of the family's task.")]
Source = Annotated[str | None, typer.Option(help="Transfer: the data set to train on.")]
Target = Annotated[str | None, typer.Option(help="Transfer: the data set to test on.")]
Duplicates = Annotated[
    str | None,
    typer.Option(help="removed: without the test clips that equal a training clip; a task version of its own."),
]
Preset = Annotated[str, typer.Option(help="quick: minutes on two cores. paper: the published settings.")]
Presets = Annotated[
    str | None,
    typer.Option(
        help="quick: minutes on two cores. paper: the published settings. Or both, with a comma between; quick when "
        "not given."
    ),
]
SeedsOfAll = Annotated[int | None, typer.Option(help="How many seeds, from 0 on; 1 when not given.", min=1)]
Streams = Annotated[
    str | None,
    typer.Option(help="One job for each of these skeleton streams, such as joint,bone,joint-motion,bone-motion."),
]
Seeds = Annotated[int, typer.Option(help="How many seeds, from 0 on.", min=1)]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a method's setting, as key=value. Repeatable.")
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", help="Set a task's parameter, as key=value, such as text=clip:ViT-B-32."),
]
Limit = Annotated[int | None, typer.Option(help="Keep that many clips a side: a smoke run, never ranked.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", envvar=paths.DATA_ROOT_VARIABLE, help="Folder of prepared data sets and caches."),
]
Results = Annotated[Path | None, typer.Option("--results", envvar=paths.RESULTS_VARIABLE, help="Folder of results.")]


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
