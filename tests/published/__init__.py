"""Tiny synthetic data sets in the forms in which the real ones are published: one module a reader.

Each module is called after its reader, dashes as underscores, and has ``write(folder) -> Path``, which makes the source
below ``folder`` and returns what to give as ``--source``.
"""

from __future__ import annotations

import importlib
from pathlib import Path


def write(name: str, folder: Path) -> Path:
    """The tiny source of the data set ``name``."""
    module = importlib.import_module(f"published.{name.replace('-', '_')}")
    source: Path = module.write(folder)
    return source
