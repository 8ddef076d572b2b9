"""``mmcl-bench data``: preparing data sets and looking at them. One file for a few verbs each."""

from __future__ import annotations

import typer

from mmcl_bench.cli.data import audit, compare, export, layouts, listing, prepare, show, verify

app = typer.Typer(help="Prepare data sets and look at them.", no_args_is_help=True)
app.command()(prepare.prepare)
app.command("list")(listing.list_datasets)
app.command()(listing.info)
app.command()(listing.samples)
app.command()(audit.audit)
app.command()(compare.compare)
app.command("show")(show.show_sample)
app.command()(verify.verify)
app.command()(layouts.layouts)
app.command()(export.export)
app.command()(export.synth)
