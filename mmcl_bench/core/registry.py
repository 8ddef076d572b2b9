"""Named things of one kind, found by name and imported only when they are used."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from mmcl_bench.core.errors import UserError

T = TypeVar("T")

_STATEMENT = re.compile(
    r"""^(?:class\ (?P<class>\w+)  # a class begins,
    |[^\s)\#]  # or another statement of the module, no end of a bracket,
    |(?:[ ]{1,4}|\t)name\s*(?::[^=\n]+)?=\s*["'](?P<name>[^"'\n]+)["']\s*(?:\#.*)?$)  # or a class sets its name
    """,
    re.MULTILINE | re.VERBOSE,
)


def declared_in(package: str, folder: str) -> dict[str, str]:
    """Where the named classes of a package are, as ``"module:Class"``: those whose body has ``name = "..."``.

    The name must be a plain string, not computed. Files below ``folder`` are read but not imported, so listing names
    is fast. Raises :class:`UserError` where two classes have one name.

    >>> declared_in("mmcl_bench.methods", "mmcl_bench/methods")["chance"]
    'mmcl_bench.methods.chance:Chance'
    """
    found: dict[str, str] = {}
    for path in sorted(Path(folder).rglob("*.py")):
        module = ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__")
        for name, entry in _declared(path.read_text(encoding="utf-8", errors="replace"), module):
            if name in found:
                raise UserError(f"{name!r} is the name of both {found[name]} and {entry}; rename one of them")
            found[name] = entry
    return found


def _declared(source: str, module: str) -> Iterator[tuple[str, str]]:
    inside = None
    for match in _STATEMENT.finditer(source):
        if match["name"] is None:
            inside = match["class"]
        elif inside is not None:
            yield match["name"], f"{module}:{inside}"


class Registry(Generic[T]):
    """A lookup from a name to an object, with built-in entries and entry-point plugins.

    Entries are ``"module:attribute"`` strings, given or found by :func:`declared_in`, so that listing names imports
    nothing. A plugin package adds an entry under the entry-point group ``group`` of its own metadata; a built-in name
    cannot be taken over.

    >>> shapes = Registry[type]("shape", "my_package.shapes", {"fraction": "fractions:Fraction"})
    >>> shapes.get("fraction")
    <class 'fractions.Fraction'>
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._builtin = dict(builtin)
        self._registered: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds an object under ``name`` for the life of the process (notebooks and tests)."""

        def add(thing: T) -> T:
            if name in self:
                raise ValueError(f"a {self.kind} named {name!r} exists already")
            self._registered[name] = thing
            return thing

        return add

    def replace(self, name: str, thing: T) -> None:
        """As :meth:`register`, also in the place of what that method added. Raises :class:`UserError` for the name of a
        built-in or of a plugin."""
        if name in self._builtin or name in self._plugins():
            raise UserError(f"a {self.kind} named {name!r} exists already; give yours a name of its own")
        self._registered[name] = thing

    def unregister(self, name: str) -> None:
        """Removes what :meth:`register` added under ``name``."""
        del self._registered[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Sorted names that match a shell glob. Imports nothing."""
        return sorted(name for name in self if fnmatch.fnmatchcase(name, pattern))

    def get(self, name: str) -> T:
        """The object called ``name``.

        Raises :class:`UserError` with the nearest names when there is none, and for code that cannot be imported.
        """
        if name in self._registered:
            return self._registered[name]
        entry = self._builtin.get(name) or self._plugins().get(name)
        if entry is None:
            raise UserError(unknown(self.kind, name, self.names()))
        try:
            thing: T = _load(entry)
        except Exception as error:
            raise UserError(f"{self.kind} {name!r}: {self._unloadable(name, entry, error)}") from error
        return thing

    def is_builtin(self, name: str) -> bool:
        """Whether the name is one of this package's own."""
        return name in self._builtin

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in self._builtin or name in self._plugins()

    def __iter__(self) -> Iterator[str]:
        return iter({**self._builtin, **self._plugins(), **self._registered})

    def _unloadable(self, name: str, entry: str, error: Exception) -> str:
        module, reason = entry.partition(":")[0], f"{type(error).__name__}: {error}".partition("\n")[0]
        if self.is_builtin(name):
            file = f"{module.replace('.', '/')}.py"
            return f"{file} cannot be loaded ({reason}); python -c 'import {module}' shows where"
        return f"its plugin {entry!r} cannot be loaded ({reason}); mend or uninstall that package"

    def _plugins(self) -> dict[str, str]:
        from importlib import metadata

        found = metadata.entry_points(group=self.group)
        return {entry.name: entry.value for entry in found if entry.name not in self._builtin}


def _load(entry: str) -> Any:
    module, _, attribute = entry.partition(":")
    loaded: Any = importlib.import_module(module)
    for part in attribute.split("."):
        loaded = getattr(loaded, part)
    return loaded


def unknown(kind: str, name: str, known: list[str]) -> str:
    """One line for a name that is not there: the nearest names first, then all of them."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"unknown {kind} {name!r}.{guess} Known: {', '.join(known) or 'none'}."
