"""An audit as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from mmcl_bench.core.errors import UserError
from mmcl_bench.core.files import write_atomically
from mmcl_bench.core.pages import templates_in
from mmcl_bench.datasets.audit import Audit

_SHOWN = 200
"""Examples of one finding; the JSON has all."""


def write_page(audit: Audit, path: Path) -> None:
    """Writes the page; the same audit gives the same bytes. Raises :class:`UserError` where it cannot be written."""
    html = (
        templates_in("mmcl_bench.datasets.audit")
        .get_template("page.html.j2")
        .render(
            audit=audit,
            card=audit.card,
            most=max((clips for count in audit.classes for both in count.sides.values() for clips in both), default=0),
            shown=_SHOWN,
        )
    )
    try:
        write_atomically(path, lambda draft: draft.write_text(html, encoding="utf-8", errors="replace", newline=""))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); choose another --page") from error
