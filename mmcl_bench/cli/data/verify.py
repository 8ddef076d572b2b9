"""``mmcl-bench data verify``: whether prepared sets are still what was prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from mmcl_bench.cli.console import AsJson, progress, show, show_json
from mmcl_bench.cli.options import DataRoot
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError


class Verdict(TypedDict):
    """Whether one set is whole, and what is wrong with it."""

    name: str
    state: str
    """``whole`` or ``damaged``."""
    fingerprint: str | None
    fault: str | None


def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of a prepared data set; --all for every one.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Check every prepared data set of the data root.")] = False,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Read a prepared data set from end to end and compare it with its fingerprint.

    Says which file or clip is not as it was, and exits with code 2.
    """
    from mmcl_bench.datasets.audit.verify import prepared_folders
    from mmcl_bench.datasets.store import CARD

    root = paths.data_root(data_root)
    if every == (name is not None):
        raise UserError("data verify: give the NAME of a prepared data set, or --all, and not both")
    folders = prepared_folders(root) if name is None else [root / name]
    if not any((folder / CARD).exists() for folder in folders):
        raise UserError(f"{root}: no prepared data set{f' {name}' if name else ''}; see mmcl-bench data list")
    verdicts = [_verdict(folder) for folder in folders]
    if as_json:
        show_json(verdicts if every else verdicts[0])
    else:
        _show(verdicts)
    faults = [verdict["fault"] for verdict in verdicts if verdict["fault"]]
    if faults:
        raise UserError(
            faults[0] if len(faults) == 1 else f"{len(faults)} of {len(verdicts)} sets are damaged: {faults[0]}"
        )


def _verdict(folder: Path) -> Verdict:
    from mmcl_bench.datasets.audit.verify import verify as check

    with progress(f"verifying {folder.name}", "clips") as advance:
        try:
            dataset = check(folder, advance)
        except UserError as error:
            return Verdict(name=folder.name, state="damaged", fingerprint=None, fault=str(error))
    return Verdict(name=folder.name, state="whole", fingerprint=dataset.card.fingerprint, fault=None)


def _show(verdicts: list[Verdict]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "state", "fingerprint")
    for verdict in verdicts:
        table.add_row(Text(verdict["name"]), verdict["state"], (verdict["fingerprint"] or "")[:16])
    show(table)
