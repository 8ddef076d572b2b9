"""The Python interface: what the command line does, for notebooks and scripts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pandas as pd

from mmcl_bench.core import paths
from mmcl_bench.core.compute import find_device, threads_alone
from mmcl_bench.core.errors import UserError
from mmcl_bench.core.settings import setting_text
from mmcl_bench.inference.predict import TrainedModel, find_job
from mmcl_bench.methods import METHODS
from mmcl_bench.methods.base import Method
from mmcl_bench.protocols.catalogue import find_tasks
from mmcl_bench.report import split_means, tables
from mmcl_bench.results.store import Stored, table_of
from mmcl_bench.running.runner import RunSite, run_job
from mmcl_bench.running.suites import jobs_of, methods_in

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

AnyMethod = str | type[Method]
_RUN: WeakKeyDictionary[type[Method], set[tuple[Path, str]]] = WeakKeyDictionary()
"""For each class that was given to :func:`run`, the results folder and hash of the jobs that it has run. A job that is
stored and not among them may be of another version of the class's code."""


class RunTable(pd.DataFrame):  # type: ignore[misc]
    """Finished jobs: one row a metric and seed, with the columns of :func:`mmcl_bench.read_results`.

    A notebook shows the tables that ``mmcl-bench run`` prints, and so does ``rich.print``; its own rows where the
    results were replaced by others since. What is made from it, such as ``table[table.main]``, is a plain data frame.
    """

    _metadata = ("stored",)  # what pandas calls attributes that are no columns
    stored: list[Stored]
    """The jobs."""

    @classmethod
    def of(cls, stored: Iterable[Stored]) -> RunTable:
        jobs = list(stored)
        table = cls(table_of(jobs))
        table.stored = jobs
        return table

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def _tables(self) -> list[Table]:
        """None where scores are no longer as they were."""
        try:
            return [
                *tables.run_tables(split_means.without_class_folds(self.stored)),
                *split_means.tables_of(self.stored),
            ]
        except UserError:
            return []

    def _repr_html_(self) -> str:
        shown: str = "\n".join(map(_as_html, self._tables())) or self.to_html()
        return shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Table | str]:
        found = self._tables()
        yield from found if found else [repr(self)]


def run(
    task: str | Sequence[str],
    method: AnyMethod | Sequence[AnyMethod] = "mmcl",
    seeds: int = 1,
    *,
    preset: str = "quick",
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    fresh: bool | None = None,
    device: str = "auto",
    data_root: Path | str | None = None,
    results_root: Path | str | None = None,
) -> RunTable:
    """Runs tasks with methods over seeds 0, 1, ...

    ``task`` is a name or a pattern such as ``zero-shot/*``, or several. ``method`` is what ``--method`` takes, such as
    ``devise,mmcl[epochs=2]``, or a class of your own, or a list of these. A class need not be registered. ``settings``
    go to the methods that know them, as ``--set`` does; they and ``device`` mean what they mean on the command line.

    Jobs that are stored are not run again, but for those of a class that was given here and has not run them itself:
    its code may be other than when they were stored. ``fresh`` True runs all again, False none. Raises
    :class:`UserError` for names and values that do not exist.

    >>> run("zero-shot/synth60[split=55/5]", method="chance", seeds=3)  # doctest: +SKIP
    """
    root = paths.data_root(None if data_root is None else Path(data_root))
    where = RunSite(
        root,
        paths.results_root(None if results_root is None else Path(results_root)),
        find_device(device),
        any_device=device == "auto",
    )
    tasks = [each for name in _listed(task) for each in find_tasks(name, data_root=root)]
    methods: list[AnyMethod] = _listed(method)
    for each in methods:
        if not isinstance(each, str):
            _register(each)
    jobs = jobs_of(
        tasks,
        [name for each in methods for name in (methods_in(each) if isinstance(each, str) else [each.name])],
        [preset],
        seeds,
        {key: value if isinstance(value, str) else setting_text(value) for key, value in (settings or {}).items()},
        limit,
    )
    import torch

    torch.set_num_threads(threads_alone())
    stored = []
    for job in jobs:
        ran, place = _RUN.get(METHODS.get(job.method)), (where.results_root, job.hash)
        again = ran is not None and place not in ran if fresh is None else fresh
        stored.append(run_job(job, where, again)[0])
        if ran is not None:
            ran.add(place)
    return RunTable.of(stored)


def trained_model(
    job: str,
    method: str | None = None,
    seed: int | None = None,
    *,
    device: str = "cpu",
    results_root: Path | str | None = None,
) -> TrainedModel:
    """The fitted method of a finished job, with its classes.

    ``model.method.score(mmcl_bench.clips(...))`` scores skeletons of your own, a column a class of ``model.classes``.
    ``job`` is its folder, the start of its hash, or its task; ``method`` and ``seed`` select among the jobs of a task.
    Raises :class:`UserError` where it is not one job, or keeps no model.
    """
    root = paths.results_root(None if results_root is None else Path(results_root))
    return TrainedModel.of(find_job(root, job, method, seed), find_device(device))


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def _register(method: type[Method]) -> None:
    """Makes a class known under its name, in the place of a class that was made known in this process, as by a former
    version of a notebook's cell."""
    if not (isinstance(method, type) and issubclass(method, Method) and "name" in vars(method)):
        name = getattr(method, "__name__", type(method).__name__)
        raise UserError(
            f"{name}: a method is a class that derives from mmcl_bench.Method and has a name of its own, "
            "such as name = 'my-method'"
        )
    if not (method.name in METHODS and METHODS.get(method.name) is method):
        METHODS.replace(method.name, method)
        _RUN[method] = set()


def _as_html(table: Table) -> str:
    """A rich table as one of HTML: title and caption around it, cells without their styles."""

    def row(cells: Iterable[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    head = row((column.header for column in table.columns), "th")
    body = "\n".join(row(cells, "td") for cells in zip(*(column.cells for column in table.columns), strict=True))
    around = [
        f"<div>{html.escape(str(text)).replace(chr(10), '<br>')}</div>" for text in (table.title, table.caption) if text
    ]
    return "\n".join([*around[:1], f"<table><thead>{head}</thead><tbody>{body}</tbody></table>", *around[1:]])
