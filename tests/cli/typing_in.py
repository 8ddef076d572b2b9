"""Types a command in this process, which spares the start of another one."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from mmcl_bench.cli import main


@dataclass(frozen=True)
class Said:
    """What a command left."""

    code: int
    out: str
    err: str


def type_in(line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    monkeypatch.setattr(sys, "argv", ["mmcl-bench", *line])
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    try:
        main()
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    captured = capsys.readouterr()
    assert isinstance(code, int)
    return Said(code, captured.out, captured.err)
