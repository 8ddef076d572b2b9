"""The project's sessions. ``nox`` runs lint, types and tests; ``nox -s bench`` benchmarks, ``nox -s fuzz`` bad data."""

import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
PROJECT = Path(".nox/project").resolve()
"""One environment for the sessions that need torch, which is large."""


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting; needs none of the dependencies."""
    session.install("ruff>=0.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Static types."""
    session.run(_python(session), "-m", "mypy")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The test suite."""
    session.run(_python(session), "-m", "pytest", *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """The benchmarks."""
    session.run(_python(session), "-m", "pytest", "--benchmark-enable", "--benchmark-only", *session.posargs)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Twenty thousand damaged sources, shared among the readers."""
    tests = "tests/skeleton/test_every_reader.py"
    session.run(_python(session), "-m", "pytest", tests, "-k", "damaged", env={"MMCL_BENCH_FUZZ": "1200"})


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The pages, as a site in the folder site/."""
    session.run(_python(session), "-m", "mkdocs", "build", "--strict", *session.posargs)


def _python(session: nox.Session) -> str:
    """The interpreter of the shared environment, with the project and its tools installed."""
    python = PROJECT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        session.run(sys.executable, "-m", "venv", str(PROJECT))
    session.run(str(python), "-m", "pip", "install", "--quiet", "--editable", ".[dev]")
    return str(python)
