"""The project's sessions. ``nox`` runs lint, types and tests; ``nox -s bench`` the benchmarks."""

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting; needs none of the dependencies."""
    session.install("ruff>=0.6")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(venv_location=".nox/project")
def types(session: nox.Session) -> None:
    """Static types. Shares one environment with tests and bench, since torch is large."""
    _install(session)
    session.run("mypy")


@nox.session(venv_location=".nox/project")
def tests(session: nox.Session) -> None:
    """The test suite."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session(venv_location=".nox/project", default=False)
def bench(session: nox.Session) -> None:
    """The benchmarks."""
    _install(session)
    session.run("pytest", "--benchmark-enable", "--benchmark-only", *session.posargs)


def _install(session: nox.Session) -> None:
    session.install("-e", ".[dev]")
