"""The verdict of the regression gate: a table, JSON, JUnit XML and Markdown."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from mmcl_bench.comparing.gate import FAILING, Judgement, Verdict, environment_changes
from mmcl_bench.core.files import write_atomically
from mmcl_bench.core.text import counted
from mmcl_bench.results.groups import metric_title

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {Verdict.SAME: "dim", Verdict.HELD: "green", Verdict.ROSE: "yellow"}
_COLOURS |= dict.fromkeys(FAILING, "bold red") | dict.fromkeys((Verdict.REFUSED, Verdict.MISSING), "magenta")
_JUNIT = dict.fromkeys(FAILING, "failure") | {Verdict.REFUSED: "error", Verdict.MISSING: "skipped"}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""
_HEADS = ("task", "method", "seeds", "baseline", "now", "change", "tolerance", "judged by", "lost / won", "verdict")
_NUMERIC = range(2, 7)


def summary(judgements: Sequence[Judgement]) -> str:
    """One line: ``5 rows: 3 held, 1 fell, 1 missing``."""
    counts = Counter(judgement.verdict for judgement in judgements)
    parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
    return f"{counted(len(judgements), 'row')}: {', '.join(parts)}"


def sentence(judgement: Judgement) -> str:
    """One line of a row, for messages."""
    row = judgement.row
    if judgement.now is None or judgement.verdict is Verdict.REFUSED:
        return f"{row.name}: {judgement.verdict}: {judgement.reason}"
    before, now = _percent(judgement.before), _percent(judgement.now.figure)
    return (
        f"{row.name}: {metric_title(row.metric)} {judgement.verdict}: {before} -> {now}, "
        f"{_signed(judgement.difference)} points where {_points(judgement.tolerance)} are within chance"
    )


def changes_of_environment(judgements: Sequence[Judgement]) -> list[str]:
    """How the machine and packages differ from those of the baseline, each change once."""
    changes = (
        environment_changes(judgement.row, judgement.now) for judgement in judgements if judgement.now is not None
    )
    return list(dict.fromkeys(change for of_row in changes for change in of_row))


def table(judgements: Sequence[Judgement]) -> Table:
    """A table for people."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=summary(judgements))
    for place, head in enumerate(_HEADS):
        shown.add_column(head, justify="right" if place in _NUMERIC else "left", overflow="fold")
    for judgement in judgements:
        *cells, verdict = _cells(judgement)
        shown.add_row(*map(Text, cells), Text(verdict, style=_COLOURS[judgement.verdict]))
    return shown


def records(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """JSON values, one object a row; figures are shares of 1."""
    return [_record(judgement) for judgement in judgements]


def markdown(judgements: Sequence[Judgement]) -> str:
    """A summary with a table, as GitHub shows it."""
    lines = [f"### mmcl-bench check: {summary(judgements)}", ""]
    lines += ["| " + " | ".join(_HEADS) + " |"]
    lines += ["|" + "|".join(" ---: " if place in _NUMERIC else " --- " for place in range(len(_HEADS))) + "|"]
    for judgement in judgements:
        cells = [re.sub(r"([|\\`*_<>\[\]])", r"\\\1", cell) for cell in _cells(judgement)]
        cells[-1] = f"**{cells[-1]}**" if judgement.verdict in FAILING else cells[-1]
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {sentence(judgement)}" for judgement in judgements if judgement.reason]
    notes += [f"- {judgement.row.name}: {note}" for judgement in judgements for note in judgement.notes]
    changes = changes_of_environment(judgements)
    notes += [f"- Other than the baseline's: {', '.join(changes)}"] if changes else []
    return "\n".join([*lines, "", *notes, *([""] if notes else [])])


def junit(judgements: Sequence[Judgement]) -> bytes:
    """JUnit XML, a test case a row: what fell or broke is a failure, refused an error, missing skipped."""
    counts = Counter(judgement.verdict for judgement in judgements)
    attributes = {
        "tests": str(len(judgements)),
        "failures": str(counts[Verdict.FELL] + counts[Verdict.BROKE]),
        "errors": str(counts[Verdict.REFUSED]),
        "skipped": str(counts[Verdict.MISSING]),
    }
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "mmcl-bench check", **attributes})
    for judgement in judgements:
        row = judgement.row
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": _xml(row.task), "name": _xml(f"{row.label} {row.metric}")}
        )
        verdict_text = _xml(sentence(judgement))
        if (tag := _JUNIT.get(judgement.verdict)) is not None:
            ElementTree.SubElement(case, tag, {"message": verdict_text}).text = _xml(f"make it again: {row.command}")
        output = "\n".join([verdict_text, *(_xml(note) for note in judgement.notes)])
        ElementTree.SubElement(case, "system-out").text = output
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def write(path: Path, content: bytes) -> None:
    """Writes a report, and the folder it is in."""
    write_atomically(path, lambda draft: draft.write_bytes(content))


def _cells(judgement: Judgement) -> list[str]:
    row, now = judgement.row, judgement.now
    compared = now is not None and judgement.verdict is not Verdict.REFUSED
    return [
        row.task,
        row.label,
        f"{len(row.seeds)}, {len(now.seeds)}" if now is not None else str(len(row.seeds)),
        f"{metric_title(row.metric)} {_percent(judgement.before)}",
        _percent(now.figure) if now is not None and compared else "",
        _signed(judgement.difference) if compared else "",
        _points(judgement.tolerance) if compared else "",
        judgement.basis if compared else "",
        f"{judgement.lost:.1f} / {judgement.gained:.1f}" if not math.isnan(judgement.lost) else "",
        str(judgement.verdict),
    ]


def _record(judgement: Judgement) -> dict[str, Any]:
    row, now = judgement.row, judgement.now
    return {
        "task": row.task,
        "method": row.label,
        "metric": row.metric,
        "verdict": str(judgement.verdict),
        "reason": judgement.reason or None,
        "baseline": judgement.before,
        "now": None if now is None else now.figure,
        "basis": judgement.basis,
        "difference": _number(judgement.difference),
        "tolerance": _number(judgement.tolerance),
        "p_value": _number(judgement.p_value),
        "n": row.n,
        "seeds_baseline": [seed.seed for seed in row.seeds],
        "seeds_now": [] if now is None else [seed.seed for seed in now.seeds],
        "lost": _number(judgement.lost),
        "gained": _number(judgement.gained),
        "figures_baseline": row.figures,
        "figures_now": None if now is None else now.figures,
        "notes": list(judgement.notes),
        "environment": [] if now is None else environment_changes(row, now),
        "command": row.command,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}"


def _points(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else "unknown"


def _xml(text: str) -> str:
    return _NO_XML.sub("?", text)
