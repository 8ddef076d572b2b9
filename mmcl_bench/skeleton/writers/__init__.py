"""Writers: from prepared or generated clips to the forms that others' code reads. One file a form."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from mmcl_bench.errors import UserError

Advance = Callable[[int, int], None]
"""Called with the clips that are written and all of them."""
_Made = TypeVar("_Made")


def counted(made: Generator[_Made], advance: Advance, done: int, total: int) -> Generator[_Made]:
    """Passes ``made`` on and tells ``advance`` of each, after ``done`` others. Closes it when it is closed itself."""
    with closing(made):
        for number, each in enumerate(made, done + 1):
            yield each
            advance(number, total)


@contextmanager
def new_output(output: Path) -> Iterator[None]:
    """Where ``output`` is written, which must not be there yet, but for an empty folder.

    Raises :class:`UserError` when it is there, and for what hinders the writing.
    """
    try:
        if output.is_symlink() or (any(output.iterdir()) if output.is_dir() else output.exists()):
            raise UserError(f"{output}: is there already; move it away, or choose another --output")
        output.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(
            f"{output}: cannot be written ({error.strerror or error}); make room, or choose another --output"
        ) from error
