"""The command line: light to start, helpful, and one line for a mistake."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import typer
from rich.table import Table
from rich.text import Text
from typing_in import Said, type_in

from mmcl_bench.cli import app, command_line, console, main
from mmcl_bench.cli.live import LiveProgress
from mmcl_bench.core.grants import Setting

if TYPE_CHECKING:
    from mmcl_bench.running.jobs import Job

HEAVY = ("torch", "pandas", "scipy", "sklearn", "matplotlib", "transformers", "pyarrow")


def started(*arguments: str) -> str:
    """What a command prints that is started as a user starts it."""
    words = [sys.executable, "-m", "mmcl_bench", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """Types a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def typed(*arguments: str, root: Path | None = None) -> Said:
        return type_in([*arguments, *(["--data-root", str(root)] if root else [])], monkeypatch, capsys)

    return typed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["plan", "--help"],
        ["fuse", "--help"],
        ["info", "-h"],
        ["data", "--help"],
        ["list", "tasks", "--json"],
        ["list", "methods"],
        ["list", "datasets"],
        ["list", "backbones"],
        ["list", "encoders"],
        ["run", "zero-shot", "--method", "devise-joints,nonsense"],
    ],
)
def test_help_listing_and_a_name_that_does_not_exist_load_nothing_heavy(
    arguments: list[str], call: Callable[..., Said]
) -> None:
    if arguments[0] == "list":
        call(*arguments)  # a first list describes what there is
    # typer itself loads pydantic to read the words after a verb.
    heavy = HEAVY if arguments[0] != "--help" else (*HEAVY, "numpy", "pydantic")
    code = (
        "import sys; from mmcl_bench.cli import main\n"
        f"sys.argv = ['mmcl-bench', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('loaded', sorted(set({heavy!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


def verbs() -> list[tuple[str, Any]]:
    root: Any = typer.main.get_command(app)
    found: list[tuple[str, Any]] = []
    for name, command in root.commands.items():
        nested = getattr(command, "commands", {"": command}).items()
        found.extend((f"{name} {sub}".strip(), each) for sub, each in nested)
    return found


def test_one_verb_is_built_as_it_is_among_all() -> None:
    every: Any = typer.main.get_command(app)
    for name, command in every.commands.items():
        alone: Any = typer.main.get_command(command_line(name))
        assert list(alone.commands) == [name]
        assert options_of(alone.commands[name]) == options_of(command)


def test_plan_takes_the_words_of_run() -> None:
    every: Any = typer.main.get_command(app)
    plan, run = (options_of(every.commands[name]) for name in ("plan", "run"))
    assert len(plan) > 15
    assert plan.items() <= run.items()


def options_of(command: Any) -> dict[str, tuple[Any, ...]]:
    return {each.name: (each.opts, each.default, each.help) for each in command.params}


@pytest.mark.parametrize(("name", "command"), verbs())
def test_every_verb_and_option_has_help(name: str, command: Any) -> None:
    assert command.help, name
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


@pytest.mark.parametrize("verb", ["run", "plan", "score"])
def test_help_of_80_columns_cuts_no_setting(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmcl-bench", verb, "--help"])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main()
    words = re.findall(r"[\w-]+", capsys.readouterr().out)
    assert set(Setting) <= set(words)


@pytest.mark.parametrize(("name", "command"), verbs())
def test_help_shows_brackets_as_they_are_typed(name: str, command: Any) -> None:
    for text in [command.help, *(parameter.help or "" for parameter in command.params)]:
        assert Text.from_markup(text).plain == text.replace("\\[", "["), name


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("on_a_terminal")
def test_what_is_shown_live_keeps_its_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveProgress(lambda job: "mmcl[backbone=hd-gcn]") as live:
        live.on_start([cast("Job", None)])
        live.on_progress(0, "final: training", 1, 2, {"loss[a]": 0.5})
    with console.progress("generating set[1]", "clips") as done:
        done(1, 2)
    with console.status("measuring method[2]"):
        pass
    written = Text.from_ansi(capsys.readouterr().err).plain
    for shown in (
        "mmcl[backbone=hd-gcn]",
        "final: training",
        "loss[a] 0.500",
        "generating set[1]",
        "measuring method[2]",
    ):
        assert shown in written


def test_cells_of_tables_keep_their_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title="mmcl[preset=paper]")
    table.add_column("a[b]")
    table.add_row("supervised/nw-ucla@1[split=x-view]")
    console.show(table)
    written = capsys.readouterr().out
    assert all(shown in written for shown in ("mmcl[preset=paper]", "a[b]", "nw-ucla@1[split=x-view]"))


@pytest.mark.parametrize("what", ["tasks", "methods", "datasets", "encoders", "splits"])
def test_every_list_is_also_json(what: str, call: Callable[..., Said]) -> None:
    done = call("list", what, "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)) > 1


def test_methods_are_listed_by_kind_and_one_alone_with_its_settings(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    shown = Text.from_ansi(started("list", "methods")).plain
    assert max(map(len, shown.splitlines())) <= 80
    monkeypatch.delenv("FORCE_COLOR")
    kind, methods = shown.partition("\nvae ")[::2]
    assert "synse" in methods
    assert "ICIP 2021" in methods
    assert "synse" not in kind
    one = call("list", "methods", "synse").out
    for fact in (
        "noun, verb",
        "What is done, without what it is done to.",
        "steps",
        "(paper: 17000)",
        "Clips in a step.",
    ):
        assert fact in one
    (record,) = json.loads(call("list", "methods", "devise", "--json").out)
    assert {"setting": "draws", "quick": "3", "paper": "3"}.items() <= {**record["settings"][5]}.items()
    rows = {row["method"]: row for row in json.loads(call("list", "methods", "--json").out)}
    assert rows["synse"].items() >= {"kind": "vae", "published": "ICIP 2021", "cost": "minutes"}.items()
    of_kind = json.loads(call("list", "methods", "vae/s*", "--json").out)
    assert [row["method"] for row in of_kind] == ["sa-dvae", "synse"]


def test_a_task_is_one_line_of_a_narrow_terminal_and_plain_when_it_is_asked_for(
    call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_tasks = len(json.loads(call("list", "tasks", "--json").out))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    narrow, plain = (
        Text.from_ansi(started("list", "tasks", *options)).plain.splitlines() for options in ((), ("--plain",))
    )
    assert len(narrow) == n_tasks + 3, "a title, the heads and a rule"
    assert max(map(len, narrow)) <= 80
    assert len(plain) == n_tasks + 2
    assert max(map(len, plain)) > 80, "nothing is left out"


def test_lists_show_identities_as_they_are(call: Callable[..., Said]) -> None:
    assert "zero-shot/synth60@1[split=55/5]" in call("list", "tasks", "zero-shot/synth*").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "zeroshot"], "Did you mean zero-shot"),
        (["run", "zero-shot", "--split", "55/4"], "Did you mean 55/5"),
        (["run", "zero-shot", "--dataset", "nw-uclaa"], "Did you mean nw-ucla"),
        (["run", "zero-shot", "--method", "mmlc"], "Did you mean mmcl"),
        (["run", "zero-shot", "--method", "vea/*"], "Kinds: baseline, closed-form"),
        (["run", "zero-shot", "--preset", "fast"], "Known: paper, quick"),
        (["run", "zero-shot", "--set", "epochs"], "expected key=value"),
        (["run", "supervised", "--dataset", "utd-mhad", "--split", "x-view"], "Known: x-sub"),
        (["run", "supervised", "--dataset", "utd-mhad"], "mmcl-bench data prepare utd-mhad"),
        (["run", "zero-shot", "--dataset", "nw-ucla", "--device", "cuda:77"], "this machine has no such device"),
        (["run", "transfer", "--source", "synth60", "--target", "nw-ucla"], "needs two classes or more of one name"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, call: Callable[..., Said], tmp_path: Path
) -> None:
    done = call(*arguments, root=tmp_path / "empty")
    assert done.code == 2, done.err
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert "Traceback" not in done.err
    assert not (tmp_path / "results").exists()


def test_a_run_prints_a_table_stores_its_results_and_is_reported(
    call: Callable[..., Said], toy_data_root: Path, tmp_path: Path
) -> None:
    arguments = ["run", "zero-shot", "--dataset", "nw-ucla", "--method", "devise-joints,chance", "--seeds", "2"]
    first = call(*arguments, root=toy_data_root)
    assert first.code == 0, first.err
    for word in ("zero-shot/nw-ucla@3[split=8/2]", "devise-joints", "chance", "synthetic", "["):
        assert word in first.out
    again = call(*arguments, "--json", root=toy_data_root)
    assert again.err.count("stored result of") == 3, "devise-joints is deterministic"
    assert {record["method"] for record in json.loads(again.out)} == {"devise-joints", "chance"}
    report = call("report")
    assert report.code == 0, report.err
    assert (tmp_path / "reports" / "index.html").stat().st_size > 10_000
    leaderboard = (tmp_path / "reports" / "leaderboard-synthetic.csv").read_text()
    assert leaderboard.count("\n") == 3
    assert not (tmp_path / "reports" / "leaderboard.csv").exists()


def test_a_smoke_run_is_never_ranked(call: Callable[..., Said], toy_data_root: Path) -> None:
    arguments = ["run", "supervised", "--dataset", "nw-ucla", "--method", "chance", "--limit", "20"]
    assert call(*arguments, root=toy_data_root).code == 0
    assert "limit" in call(*arguments, root=toy_data_root).out.lower()


def test_the_python_api_returns_the_table(toy_data_root: Path, tmp_path: Path) -> None:
    import mmcl_bench as mb

    table = mb.run("zero-shot/nw-ucla", "chance", 2, data_root=toy_data_root, results_root=tmp_path)
    assert sorted(table.seed.unique()) == [0, 1]
    assert mb.read_results(tmp_path).equals(table)


def test_version_is_printed() -> None:
    import mmcl_bench

    assert started("--version").strip() == mmcl_bench.__version__


def test_ctrl_c_is_one_line_and_leaves_a_checkpoint_but_no_result(toy_data_root: Path, tmp_path: Path) -> None:
    arguments = ["run", "supervised", "--dataset", "nw-ucla", "--method", "skeleton-only", "--set", "min_steps=0"]
    command = [sys.executable, "-m", "mmcl_bench", *arguments, "--data-root", str(toy_data_root)]
    with subprocess.Popen(
        [*command, "--set", "epochs=300"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A background job of a shell ignores Ctrl-C, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while process.poll() is None and not list(tmp_path.glob("results/jobs/*/work/final/state.checkpoint")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    first, *_, last = message.splitlines()
    assert first.startswith("runs 1 job on ")
    assert last == "mmcl-bench: stopped; the same command continues where it was"
    assert "Traceback" not in message
    assert not list(tmp_path.glob("results/jobs/*/result.json"))
    # That the same command then ends with the same numbers is shown in test_runner.
    assert list(tmp_path.glob("results/jobs/*/work/final/state.checkpoint"))
