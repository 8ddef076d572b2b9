"""Rehearses an experiment of NTU RGB+D 120's size on synthetic clips, step by step, and draws what it cost.

``python tests/bench/scale.py run --clips 10000 --folder rehearsal`` adds a line a step to ``docs/scale.csv``;
``python tests/bench/scale.py plot`` draws ``docs/scale.svg`` from it.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

DOCS = Path(__file__).parents[2] / "docs"
MEASURED, PLOT = DOCS / "scale.csv", DOCS / "scale.svg"
TASK = ("zero-shot", "--dataset", "ntu120")
JOINTS, FEATURES = "devise-joints", "eszsl[extractor_epochs=1,extractor_min_steps=0]"
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("synth", ("data", "synth", "--like", "ntu120", "--clips", "{clips}", "--output", "{folder}/ntu120.zip")),
    ("prepare", ("data", "prepare", "ntu120", "--source", "{folder}/ntu120.zip")),
    ("run, joints", ("run", *TASK, "--method", JOINTS)),
    ("run, one epoch of features", ("run", *TASK, "--method", FEATURES)),
    ("report", ("report",)),
    ("compare", ("compare", JOINTS, FEATURES)),
)


def measured(command: Sequence[str]) -> dict[str, float]:
    """CPU and wall seconds of a command with all its processes, and the most memory that they had at once, in MiB."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command)
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    code = process.wait()
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        raise SystemExit(f"{' '.join(command)}: exit code {code}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": round(cpu, 1), "wall_s": round(time.monotonic() - begin, 1), "peak_mib": round(peak[0])}


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(_memory, _family(process.pid))))
        time.sleep(0.5)


def _family(pid: int) -> Iterable[int]:
    """A process and all that it started."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _memory(pid: int) -> float:
    """Private memory and the share of what is shared, without pages of files, which the system takes back, in MiB."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss_Anon:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def rehearse(clips: int, folder: Path) -> None:
    """All steps in ``folder``, which is emptied; each is added to the table as it ends."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ |= {"MMCL_BENCH_DATA": f"{folder}/data", "MMCL_BENCH_RESULTS": f"{folder}/results"}
    for step, words in STEPS:
        command = [word.format(clips=clips, folder=folder) for word in words]
        row = {"step": step, "clips": clips, **measured([sys.executable, "-m", "mmcl_bench", *command])}
        print(row, flush=True)
        rows = pd.read_csv(MEASURED) if MEASURED.exists() else pd.DataFrame()
        if len(rows):
            rows = rows[(rows["step"] != step) | (rows["clips"] != clips)]
        pd.concat([rows, pd.DataFrame([row])]).to_csv(MEASURED, index=False)


def plot() -> None:
    """A line a step, of time and of memory over the number of clips, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    from mmcl_bench.report.drawing import chart_style, look

    rows = pd.read_csv(MEASURED)
    with chart_style():
        import matplotlib

        matplotlib.rcParams["svg.hashsalt"] = "scale"
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, column, label in zip(panels, ("cpu_s", "peak_mib"), ("CPU seconds", "peak memory, MiB"), strict=True):
            for place, (step, of_step) in enumerate(rows.groupby("step", sort=False)):
                color, marker = look(place)
                axes.plot(of_step["clips"], of_step[column], marker=marker, color=color, label=step)
            axes.set(xscale="log", yscale="log", xlabel="synthetic clips", ylabel=label)
            axes.set_xticks(sorted(set(rows["clips"])))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:,.0f}")
                axis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.grid()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
        figure.savefig(PLOT, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "plot"])
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.what == "plot":
        plot()
    elif given.folder is None:
        parser.error("run needs --folder")
    else:
        rehearse(given.clips, given.folder)
