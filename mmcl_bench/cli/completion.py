"""The words that a shell completes, after ``mmcl-bench --install-completion``: names of what there is, read quickly."""

from __future__ import annotations

import os

from mmcl_bench.core import paths

_VARIABLE = "_MMCL_BENCH_COMPLETE"
"""Set by the shell while it asks for words."""
_TYPED = ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")
"""What is typed so far: from bash, and from other shells."""


def verb_being_completed() -> str | None:
    """The verb whose words a shell asks for; None where it asks for none, or for verbs."""
    if _VARIABLE not in os.environ:
        return None
    words = next((os.environ[name].split() for name in _TYPED if name in os.environ), [])
    return words[1] if len(words) > 2 else None


def tasks(incomplete: str) -> list[str]:
    """Families, and tasks with a card of their own."""
    families = ("supervised", "zero-shot", "transfer")
    stems = [path.stem for path in paths.packaged("tasks").glob("*.toml")]
    cards = [
        stem.replace(f"{family}-", f"{family}/", 1) for stem in stems for family in families if stem.startswith(family)
    ]
    return _starting([*families, *sorted(cards)], incomplete)


def methods(incomplete: str) -> list[str]:
    """Methods, also after the commas of a list."""
    from mmcl_bench.methods import METHODS

    return _last_of_list(["all", *METHODS.names()], incomplete)


def datasets(incomplete: str) -> list[str]:
    """Data sets that can be read, and prepared ones of one's own; also after the commas of a list."""
    from mmcl_bench.datasets.readers import READERS
    from mmcl_bench.datasets.store import CARD

    own = (path.parent.name for path in paths.data_root().glob(f"*/{CARD}"))
    return _last_of_list(sorted({*READERS.names(), *own}), incomplete)


def suites(incomplete: str) -> list[str]:
    """Suites that come with the package."""
    return _starting(sorted(path.stem for path in paths.packaged("tasks").glob("suites/*.toml")), incomplete)


def _last_of_list(names: list[str], incomplete: str) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _starting(names, last)]


def _starting(names: list[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]
