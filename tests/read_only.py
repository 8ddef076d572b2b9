"""Folders that can be read and not written, also by root, whom permissions alone do not stop."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_VERSION_3, _DAC_OVERRIDE = 0x20080522, 1 << 1
"""Of <linux/capability.h>."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def read_only(*roots: Path) -> Iterator[None]:
    """Takes the right to write in all folders below the roots; they still can be read."""
    folders = [folder for root in roots for folder in (root, *root.rglob("*")) if folder.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        with _permissions_hold():
            yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


@contextmanager
def _permissions_hold() -> Iterator[None]:
    """Root of Linux may write anywhere by a capability, which is put down meanwhile."""
    if os.geteuid():
        yield
        return
    if sys.platform != "linux":
        pytest.skip("nothing stops root from writing here")
    system = ctypes.CDLL(None, use_errno=True)
    header, found = _Header(_VERSION_3, 0), (_Capabilities * 2)()
    if system.capget(ctypes.byref(header), found):
        pytest.skip("nothing stops root from writing here")
    before = found[0].effective
    found[0].effective = before & ~_DAC_OVERRIDE
    system.capset(ctypes.byref(header), found)
    try:
        yield
    finally:
        found[0].effective = before
        system.capset(ctypes.byref(header), found)
