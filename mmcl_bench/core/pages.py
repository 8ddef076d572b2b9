"""How templates of HTML pages are rendered."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates_in(package: str) -> Environment:
    """The templates in a package's folder: values are escaped, a name that is not given is an error."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
