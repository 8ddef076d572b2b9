"""Methods by text encoder: a table and a figure of results that differ in the encoder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.report.encoders import encoder_tables, frame_of, heat_maps
from mmcl_bench.report.page import build_report
from mmcl_bench.report.tables import leaderboard_rows

LABELS = np.arange(40) % 4
LAYER = "smollm2[layer=20,pooling=last]"


def sheet(share: float) -> np.ndarray:
    """Scores of 40 clips of two seen and two unseen classes; others than this share are taken for their neighbour."""
    predicted = np.where(np.arange(40) < 40 * share, LABELS, LABELS ^ 1)
    return np.eye(4, dtype=np.float32)[predicted]


def run(store_job, encoder, share, method="devise", split="2/2", **others):
    shown = "" if encoder == "minilm" else f",text={encoder}"
    given = {
        "identity": f"zero-shot/toy@1[split={split}{shown}]",
        "task_hash": f"{split}{encoder}".encode().hex().ljust(64, "0")[:64],
        "parameters": {"split": split, "text": encoder},
        "labels": LABELS,
        "scores": sheet(share),
    }
    return store_job(family="zero-shot", method=method, **{**given, **others})


def tables_of(*jobs):
    return encoder_tables(leaderboard_rows(jobs))


def test_methods_of_one_label_are_all_there(store_job):
    jobs = [
        run(store_job, encoder, epochs / 10, settings={"epochs": epochs})
        for epochs in (2, 5)
        for encoder in ("minilm", LAYER)
    ]
    (table,) = tables_of(*jobs)
    assert list(table.methods) == ["devise (quick), values 1 of 2", "devise (quick), values 2 of 2"]


def test_a_method_stands_under_every_encoder_that_it_ran_with(store_job):
    jobs = [
        *(run(store_job, "minilm", share, seed=seed) for seed, share in enumerate((0.4, 0.6))),
        run(store_job, LAYER, 0.8),
        run(store_job, "minilm", 1.0, method="eszsl"),
        run(store_job, "smollm2", 0.6, split="1/3"),
    ]
    (table,) = tables_of(*jobs)
    assert (table.task, table.encoders) == ("zero-shot/toy@1[split=2/2]", ("minilm", LAYER))
    assert list(table.methods) == ["devise (quick)"], "eszsl ran with one encoder alone"
    frame = frame_of([table])
    assert frame["Metric"].tolist() == ["ZSL top-1", "H"]
    values = [frame[name][0].partition(" ")[0] for name in ("minilm", LAYER, "Largest difference")]
    assert values == ["50.0", "80.0", "30.0"]


@pytest.mark.parametrize(
    "other",
    [{"split": "1/3"}, {"method": "eszsl"}, {"settings": {"width": 2}}, {"fingerprint": "e" * 64}, {"limit": 9}],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_in_more_than_the_encoder_does_not_meet(store_job, other):
    assert tables_of(run(store_job, "minilm", 0.5), run(store_job, "smollm2", 0.5, **other)) == []


def test_one_encoder_or_a_task_without_any_has_no_table(store_job):
    assert tables_of(run(store_job, "minilm", 0.5), store_job(), store_job(task_hash="b" * 64)) == []


def test_the_figure_has_every_value_and_leaves_open_what_was_not_run(store_job):
    jobs = [run(store_job, encoder, share) for encoder, share in (("minilm", 0.5), ("smollm2", 0.8), (LAYER, 1.0))]
    jobs += [run(store_job, encoder, 0.2, method="eszsl") for encoder in ("minilm", "smollm2")]
    (table,) = tables_of(*jobs)
    maps, methods, encoders = heat_maps(table).args[:3]
    assert [each.title for each in maps] == ["ZSL top-1, %", "H, %"]
    assert list(encoders) == ["minilm", "smollm2", LAYER]
    for each in maps:
        values = {(methods[row].split()[0], encoders[column]): cell.text for (row, column), cell in each.cells.items()}
        assert values == {
            **{("devise", name): value for name, value in (("minilm", "50.0"), ("smollm2", "80.0"), (LAYER, "100.0"))},
            **{("eszsl", name): "20.0" for name in ("minilm", "smollm2")},
        }


def test_the_page_and_the_tables_have_it_and_the_same_results_give_the_same_bytes(store_job, tmp_path: Path):
    for encoder, share in (("minilm", 0.5), ("gguf:<b>.gguf", 0.8)):
        run(store_job, encoder, share)
    reports = tmp_path / "reports"
    build_report(tmp_path, reports, "none")
    html = (reports / "index.html").read_text(encoding="utf-8")
    assert "Methods by text encoder: zero-shot/toy@1[split=2/2]<" in html
    assert "gguf:&lt;b&gt;.gguf" in html
    assert "<b>.gguf" not in html
    assert (reports / "tables" / "zero-shot-encoders.csv").read_text().count("devise") == 2
    build_report(tmp_path, reports, "none")
    assert (reports / "index.html").read_text(encoding="utf-8") == html
