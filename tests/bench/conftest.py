"""What benchmarks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from torch_threads import threads


@pytest.fixture(scope="session")
def measuring(request: pytest.FixtureRequest) -> bool:
    """Whether benchmarks are on; where they are off, a benchmark only shows that it works, on inputs that are tiny."""
    option = request.config.getoption
    return bool(option("benchmark_enable") or not option("benchmark_disable"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch computes on one thread, so that both sides of a comparison have the same."""
    with threads(1):
        yield
