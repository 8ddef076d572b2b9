"""``mmcl-bench data layouts``: a picture of every joint layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def layouts(
    output: Annotated[Path, typer.Option(help="Folder to write NAME.png to.", file_okay=False)] = Path("layouts"),
) -> None:
    """Draw every joint layout, its joints numbered and named, as PNG."""
    from mmcl_bench.core.errors import UserError
    from mmcl_bench.skeleton.drawing import draw_layout
    from mmcl_bench.skeleton.layouts import get_layout, layout_names

    try:
        output.mkdir(parents=True, exist_ok=True)
        for layout in map(get_layout, layout_names()):
            draw_layout(layout, output / f"{layout.name}.png")
            typer.echo(output / f"{layout.name}.png")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another --output") from error
