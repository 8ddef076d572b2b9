"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from toys import write_toy

# An example takes longer on a busy machine, which says nothing of the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """A flush takes milliseconds, a job has twenty, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda handle: None)
        yield


def _folder(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder with {what}")
    return Path(value)


@pytest.fixture(scope="session")
def sources_dir() -> Path:
    """The folder of raw zips of the real data sets."""
    return _folder("MMCL_BENCH_SOURCES", "the raw zips of the real data sets")


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The folder of weights, inputs and outputs of the reference networks."""
    return _folder("MMCL_BENCH_PARITY", "the reference networks' vectors")


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """The folder of published splits and class maps."""
    return _folder("MMCL_BENCH_REFERENCE", "the published splits and class maps")


@pytest.fixture(scope="session")
def small_backbone() -> Iterator[str]:
    """The name of a network for tests of what is built upon one."""
    from mmcl_bench.nn import BACKBONES
    from small_backbone import SMALL, SmallSTGCN

    BACKBONES.register(SMALL)(SmallSTGCN)
    yield SMALL
    BACKBONES.unregister(SMALL)


@pytest.fixture(scope="session")
def toy_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with synthetic stand-ins for NW-UCLA (10 classes, 3 views) and UTD-MHAD (27 classes)."""
    root = tmp_path_factory.mktemp("toy-data")
    write_toy(root, "nw-ucla", 10, 6, 3)
    write_toy(root, "utd-mhad", 27, 4, 1)
    return root


@pytest.fixture(scope="session")
def transfer_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with synthetic stand-ins for four small sets, one of them of another joint layout."""
    root = tmp_path_factory.mktemp("transfer-data")
    for name, n_classes, subjects in (("nw-ucla", 10, 6), ("utd-mhad", 27, 4), ("utkinect", 10, 5), ("hdm05", 11, 5)):
        write_toy(root, name, n_classes, subjects, 1)
    return root
