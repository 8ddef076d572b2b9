"""``mmcl-bench fuse``: ensembles, as weighted sums of the scores that jobs stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mmcl_bench.cli import completion, options
from mmcl_bench.cli.console import AsJson, show, show_json
from mmcl_bench.cli.jobs import by_stream, run_jobs
from mmcl_bench.core import paths
from mmcl_bench.core.errors import UserError

if TYPE_CHECKING:
    from mmcl_bench.protocols.cards import Task
    from mmcl_bench.running.jobs import Job


@options.takes_options
def fuse(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            autocompletion=completion.tasks,
            help="A family (supervised, zero-shot, transfer), a task such as 'zero-shot/synth60\\[split=55/5]', "
            "or the path of a task card.",
        ),
    ],
    task_options: options.TaskOptions,
    site: options.SiteOptions,
    streams: Annotated[
        str | None,
        typer.Option(help="Members: one job of the method for each of these, as joint,bone,joint-motion,bone-motion."),
    ] = None,
    members: Annotated[
        str | None,
        typer.Option(
            help="Members of any kind, such as 'mmcl\\[backbone=hd-gcn,streams=bone],logistic'; "
            "or paper, the six streams of the MMCL paper."
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="equal; one number a member; or fitted, on the members' validation scores.")
    ] = "equal",
    scale: Annotated[
        str, typer.Option(help="What is summed: logits, as CTR-GCN does, or softmax, for members of different scales.")
    ] = "logits",
    method: Annotated[str, typer.Option(help="Method of the streams, and of members that name none.")] = "mmcl",
    preset: options.Preset = "quick",
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0 on; a deterministic member runs once.", min=1)] = 1,
    settings: options.Settings = None,
    limit: options.Limit = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget the stored results, of the members as well, and run again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fuse the scores of several jobs into a result of its own, and run those of them that are missing."""
    wanted = task_options.find(task, site.data_root)

    from mmcl_bench.core.compute import limit_threads, threads_alone
    from mmcl_bench.report import tables
    from mmcl_bench.running import fusion

    overrides = options.key_values("--set", settings)

    def jobs_of(seed: int) -> tuple[Job, ...]:
        if members is not None and streams is None:
            return fusion.member_jobs(
                wanted,
                fusion.parse_members(members),
                seed,
                method=method,
                preset=preset,
                overrides=overrides,
                limit=limit,
            )
        if streams is None or members is not None:
            raise UserError("give either --streams, such as joint,bone, or --members, such as paper")
        return _jobs_by_stream(wanted, streams, seed, method, preset, overrides, limit)

    chosen_weights, chosen_scale = fusion.parse_weights(weights), fusion.parse_scale(scale)
    fusions = [fusion.FusionJob(jobs_of(seed), chosen_weights, chosen_scale) for seed in range(seeds)]
    if fusions[0].deterministic:
        fusions = fusions[:1]
    for fusion_job in fusions:
        fusion_job.check()
    where = site.site()
    limit_threads(threads_alone())
    ran = run_jobs(
        list({job.hash: job for fusion_job in fusions for job in fusion_job.to_run}.values()),
        where,
        fresh,
        fusion.describe,
        again=fusion.lacks_validation if fusions[0].uses_validation else lambda stored: False,
    )
    by_hash = {stored.result.job_hash: stored for stored in ran}
    fused = [
        fusion.run_fusion(fusion_job, [by_hash[job.hash] for job in fusion_job.to_run], where.results_root)[0]
        for fusion_job in fusions
    ]
    if as_json:
        show_json(tables.fusion_records(fused, ran))
        return
    show(tables.fusion_table(fused, ran))
    typer.echo(f"stored in {paths.results_root(site.results) / 'jobs'}; mmcl-bench report makes the page", err=True)


def _jobs_by_stream(
    task: Task, streams: str, seed: int, method: str, preset: str, overrides: dict[str, str], limit: int | None
) -> tuple[Job, ...]:
    from mmcl_bench.methods import METHODS
    from mmcl_bench.running.jobs import make_job

    chosen = METHODS.get(method)
    each = by_stream(chosen, streams, overrides)
    return tuple(make_job(task, chosen, seed, preset, own, limit) for own in each)
