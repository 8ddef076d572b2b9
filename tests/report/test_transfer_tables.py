"""Transfer tasks by source and target: what a gain is over, what stands together, and what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmcl_bench.core.grants import Setting
from mmcl_bench.report import transfer
from mmcl_bench.report.drawing import LIGHT, TIP, chart_style
from mmcl_bench.report.figures import MappedDomains, domain_maps
from mmcl_bench.report.page import build_report
from mmcl_bench.report.ranking import rankings
from mmcl_bench.report.tables import leaderboard_rows
from mmcl_bench.report.transfer import frame_of, heat_maps, mean_gain_text, transfer_tables
from mmcl_bench.results.store import DomainMap

LABELS = np.arange(40) % 4
KINDS = {"network": {"bottleneck": 8}, "shallow": {"Cs": [1.0]}, "other": {}}
UNLABELLED = {"setting": Setting.UNLABELLED}


def run(store_job, method, share, source="a", target="b", kind="network", **others):
    """A job that takes all but this share of 40 clips for their neighbour in the table of four classes."""
    name = f"{source.replace(',', '-and-')}-to-{target}"
    given = {
        "name": name,
        "task_hash": name.encode().hex().ljust(64, "0")[:64],
        "datasets": (*source.split(","), target),
        "settings": {**KINDS[kind], **others.pop("changes", {})},
        "overrides": others.pop("overrides", {}),
        "labels": LABELS,
        "scores": np.eye(4, dtype=np.float32)[np.where(np.arange(40) < 40 * share, LABELS, LABELS ^ 1)],
    }
    return store_job(family="transfer", method=method, **{**given, **others})


def tables_of(*jobs):
    return transfer_tables(leaderboard_rows(jobs))


def gains(table):
    """Points by label of the method and what they are over."""
    found = {}
    for method in table.methods:
        for row in method.rows:
            gain = table.gain(row)
            found[method.group.label] = gain and (
                gain.over.group.label,
                gain.comparison and round(100 * gain.comparison.paired.difference, 6),
            )
    return found


def test_a_gain_is_over_the_method_of_the_same_kind_without_adaptation(store_job):
    (table,) = tables_of(
        run(store_job, "source-only", 0.5),
        run(store_job, "logistic-source-only", 0.4, kind="shallow"),
        run(store_job, "logistic", 0.6, kind="other"),
        run(store_job, "dann", 0.75, **UNLABELLED),
        run(store_job, "coral", 0.3, kind="shallow", **UNLABELLED),
        run(store_job, "mmcl", 0.5, kind="other"),
    )
    assert gains(table) == {
        "source-only (quick)": None,
        "logistic-source-only (quick)": None,
        "logistic (quick)": None,
        "dann (quick, unlabelled)": ("source-only (quick)", 25.0),
        "coral (quick, unlabelled)": ("logistic-source-only (quick)", -10.0),
        "mmcl (quick)": ("logistic (quick)", -10.0),
    }


def test_a_gain_is_over_the_nearest_settings_and_those_without_adaptation_are_over_the_preset(store_job):
    root = {"overrides": {"normalise": "root"}, "changes": {"normalise": "root"}}
    both = {key: {"normalise": "root", "steps": 2} for key in ("overrides", "changes")}
    (table,) = tables_of(
        run(store_job, "source-only", 0.5),
        run(store_job, "source-only", 0.9, **root),
        run(store_job, "dann", 0.75, **UNLABELLED),
        run(store_job, "dann", 1.0, **UNLABELLED, **root),
        run(store_job, "source-only", 1.0, **both),
        run(store_job, "dann", 1.0, **UNLABELLED, preset="paper"),
    )
    assert gains(table) == {
        "source-only (quick)": None,
        "source-only (quick, normalise=root)": ("source-only (quick)", 40.0),
        "source-only (quick, normalise=root, steps=2)": ("source-only (quick, normalise=root)", 10.0),
        "dann (quick, unlabelled)": ("source-only (quick)", 25.0),
        "dann (quick, normalise=root, unlabelled)": ("source-only (quick, normalise=root)", 10.0),
        "dann (paper, unlabelled)": None,
    }


def test_of_equally_near_settings_the_reference_is_not_chosen_by_its_figure(store_job):
    def reference(shares):
        settings = {"changes": {"lr": 1}, "overrides": {"lr": 1}}
        jobs = [run(store_job, "dann", 0.5, **settings)]
        for lr, share in shares.items():
            jobs.append(run(store_job, "source-only", share, changes={"lr": lr}, overrides={"lr": lr}))
        adapted, *others = sorted(leaderboard_rows(jobs), key=lambda row: row.group.method.name)
        return transfer.without_adaptation(adapted, others).group.settings

    assert reference({2: 0.1, 3: 0.9}) == reference({2: 0.9, 3: 0.1}) == "lr=2"


def test_other_seeds_do_not_pair(store_job):
    (table,) = tables_of(run(store_job, "source-only", 0.5), run(store_job, "dann", 1.0, seed=1, **UNLABELLED))
    assert gains(table)["dann (quick, unlabelled)"] == ("source-only (quick)", None)
    assert frame_of([table])["Gain"].tolist() == ["–", "not paired"]


def test_the_mean_gain_is_over_tasks(store_job):
    pairs = [("a", "b", 0.5), ("b", "a", 0.7), ("a,c", "b", 0.9)]
    jobs = [run(store_job, "source-only", 0.5, source, target) for source, target, _ in pairs]
    jobs += [run(store_job, "dann", share, source, target, **UNLABELLED) for source, target, share in pairs]
    (table,) = tables_of(*jobs)
    assert table.sources == ["a", "b", "all others"]
    assert table.targets == ["a", "b"]
    assert set(frame_of([table])["Source"]) == {"a", "b", "a + c"}
    dann = next(method for method in table.methods if method.group.method.name == "dann")
    mean = table.mean_gain(dann)
    # The standard error of 0, 20 and 40 points is 20 / sqrt 3; Student's t with two degrees of freedom is 4.303.
    assert (mean.value, mean.high) == (pytest.approx(0.2), pytest.approx(0.2 + 4.3027 * 0.2 / np.sqrt(3), rel=1e-4))
    (alone,) = tables_of(jobs[0], jobs[3])
    assert mean_gain_text(alone.mean_gain(alone.methods[1])) == "+0.0"
    assert mean_gain_text(alone.mean_gain(alone.methods[0])) == "–"


def test_tasks_of_other_parameters_and_other_data_have_tables_of_their_own(store_job):
    by_texts = {"identity": "transfer/a-to-b@1[classes=texts]", "parameters": {"classes": "texts"}}
    tables = tables_of(
        run(store_job, "source-only", 0.5),
        run(store_job, "devise", 0.5, kind="other", task_hash="e" * 64, **by_texts),
        run(store_job, "source-only", 0.5, fingerprint="e" * 64),
        run(store_job, "source-only", 0.5, task_hash="d" * 64, incomplete={"a": "3 of 4 published clips"}),
    )
    kinds = ["classes=texts", "shared classes", "shared classes (2)", "shared classes, incomplete data"]
    assert sorted(table.kind for table in tables) == kinds
    assert all(len(table.tasks) == 1 for table in tables)


def test_other_families_have_none(store_job):
    assert tables_of(store_job(), store_job(method="chance")) == []


def test_seeds_that_both_have_pair(store_job):
    jobs = [run(store_job, "source-only", share, seed=seed) for seed, share in ((0, 0.5), (1, 0.25))]
    (table,) = tables_of(*jobs, *(run(store_job, "dann", 0.75, seed=seed, **UNLABELLED) for seed in (1, 2)))
    assert gains(table)["dann (quick, unlabelled)"] == ("source-only (quick)", 50.0)
    gain = table.gain(table.settings["unlabelled"][0].rows[0])
    assert gain.comparison.alone == "over seed 1"


def test_the_heat_maps_of_a_setting_have_its_methods_alone_and_leave_open_what_was_not_run(store_job):
    jobs = [run(store_job, "source-only", share, *pair) for share, pair in ((0.5, ("a", "b")), (0.25, ("b", "a")))]
    jobs.append(run(store_job, "dann", 0.75, "a", "b", **UNLABELLED))
    (table,) = tables_of(*jobs)
    maps = {name: heat_maps(table, name).args[0] for name in table.settings}
    assert [cell.text for each in maps["inductive"] for cell in each.cells.values()] == ["50.0", "25.0"]
    ((place, cell),) = maps["unlabelled"][0].cells.items()
    assert (table.sources[place[0]], table.targets[place[1]]) == ("a", "b")
    assert (cell.text, cell.below, cell.bold) == ("75.0", "+25.0", True), "ten of forty clips more are no chance"
    assert cell.tip.startswith("dann (quick, unlabelled), a to b: 75.0 [")


def test_tasks_that_are_no_grid_have_a_panel_of_gains_each(store_job):
    jobs = [run(store_job, "source-only", 0.5, *pair) for pair in (("a", "b"), ("c", "d"), ("e", "f"))]
    jobs += [
        run(store_job, method, 0.75, *pair, **UNLABELLED) for method, *pair in (("dann", "a", "b"), ("dan", "c", "d"))
    ]
    (table,) = tables_of(*jobs, run(store_job, "chance", 0.25, "a", "b"))
    assert not table.is_grid
    assert transfer.gains(table, "inductive", {}) is None, "nothing but chance is compared"
    heads, methods = transfer.gains(table, "unlabelled", {}).args[:2]
    assert heads == ["a to b", "c to d"]
    drawn = {method.label.split()[0]: [each.value for each in method.intervals] for method in methods}
    assert drawn["dann"][0] == drawn["dan"][1] == 0.25
    assert np.isnan([drawn["dann"][1], drawn["dan"][0]]).all()


def test_a_map_of_both_domains_has_every_clip_by_domain_and_class():
    generator = np.random.default_rng(0)
    mapped = MappedDomains(
        "dann", generator.normal(size=(5, 2)), np.array([0, 0, 1, 1, 1]), np.ones((1, 2)), np.array([1])
    )
    with chart_style():
        (axes,) = domain_maps([mapped], ["wave", "clap"]).axes
    counts = {
        line.get_gid().removeprefix(TIP): (len(line.get_xdata()), line.get_markerfacecolor() != LIGHT["page"])
        for line in axes.lines
        if line.get_gid()
    }
    assert counts == {"wave, source": (2, False), "clap, source": (3, False), "clap, target": (1, True)}


def test_the_page_shows_maps_before_and_after_adaptation_in_one_figure(store_job, tmp_path: Path):
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    domains = DomainMap(rows, np.arange(4), rows + 1, np.arange(4))
    run(store_job, "dann", 1.0, domains=domains, **UNLABELLED)
    run(store_job, "source-only", 0.5, domains=domains)
    run(store_job, "tent", 0.5)
    html = build_report(tmp_path, tmp_path / "reports", "none").page.read_text(encoding="utf-8")
    drawn = html.partition("Features of both domains")[2].partition("</svg>")[0]
    assert 0 < drawn.index("source-only (quick)") < drawn.index("dann (quick, unlabelled)")
    assert "tent" not in drawn


def test_ranks_keep_settings_and_kinds_of_classes_apart(store_job):
    jobs = [
        run(
            store_job,
            method,
            0.5,
            source,
            "z",
            identity=f"transfer/{source}-to-z@1{told}",
            parameters=parameters,
            **own,
        )
        for source in ("a", "b", "c")
        for method, own in (
            ("x", {}),
            ("y", {}),
            ("dann", UNLABELLED),
            ("dan", UNLABELLED),
            ("tent", {"setting": Setting.TRANSDUCTIVE}),
        )
        for told, parameters in (("", {"classes": "shared"}), ("[classes=texts]", {"classes": "texts"}))
        if told == "" or method in "xy"
    ]
    found = rankings(leaderboard_rows(jobs))
    assert list(found) == [("inductive", "shared"), ("inductive", "texts"), ("unlabelled", "shared")]
    assert found["unlabelled", "shared"].ranks.methods == ("dan (quick, unlabelled)", "dann (quick, unlabelled)")
    assert len(found["inductive", "texts"].tasks) == 3


def test_the_page_and_the_tables_have_it_and_the_same_results_give_the_same_bytes(store_job, tmp_path: Path):
    for source in ("a", "b", "<c>"):
        run(store_job, "source-only", 0.5, source, "d", name=f"{source.strip('<>')}-to-d")
        for method in ("dann", "dan"):
            run(store_job, method, 0.75, source, "d", name=f"{source.strip('<>')}-to-d", **UNLABELLED)
    reports = tmp_path / "reports"
    summary = build_report(tmp_path, reports, "tasks")
    html = summary.page.read_text(encoding="utf-8")
    assert "Ranks over tasks: unlabelled methods" in html
    assert "&lt;c&gt;<br>to d" in html
    assert "<c>" not in html
    assert "+25.0<small>[" in html
    names = {path.name for path in summary.figures}
    assert "transfer-sources-by-targets-shared-classes-unlabelled.png" in names
    tables = {path.name for path in summary.tables}
    assert {"transfer-sources-by-targets.csv", "transfer-ranks-unlabelled.csv"} <= tables
    build_report(tmp_path, reports, "tasks")
    assert summary.page.read_text(encoding="utf-8") == html
