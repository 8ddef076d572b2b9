"""A function run by several processes at once, which accelerate synchronises: one per GPU, or several on the CPU."""

from __future__ import annotations

import os
import queue
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessRaisedException, start_processes

from mmcl_bench.core.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

Report = Callable[[Any], None]
"""Takes messages of the first process and sends them to the parent."""
_SECONDS = 0.2


def run_in_processes(
    count: int, device: str, work: Callable[[Accelerator, Report], None], on_message: Callable[[Any], None]
) -> None:
    """Calls ``work`` in ``count`` forked processes and waits for them; ``on_message`` takes what the first one reports.

    Raises the :class:`UserError` that one of them raised, after ending the others.
    """
    if device != "cpu" and count > torch.cuda.device_count():
        raise UserError(f"{count} processes need {count} GPUs, and there are {torch.cuda.device_count()}; lower it")
    if torch.cuda.is_initialized():
        raise UserError("several processes cannot start after CUDA is in use; run one job a command")
    # Forked, so that work may be any function and shares the prepared data without a copy.
    context = multiprocessing.get_context("fork")
    messages = context.Queue()
    children = start_processes(
        _child, (count, device, _free_port(), work, messages), nprocs=count, join=False, start_method="fork"
    )
    mistakes: list[str] = []

    def drain() -> None:
        while True:
            try:
                kind, content = messages.get_nowait()
            except queue.Empty:
                return
            mistakes.append(content) if kind == "mistake" else on_message(content)

    try:
        while not children.join(timeout=_SECONDS):
            drain()
    except ProcessRaisedException:
        drain()
        if mistakes:
            raise UserError(mistakes[0]) from None
        raise
    finally:
        for process in children.processes:
            process.terminate()
    drain()


def _child(rank: int, count: int, device: str, port: int, work: Callable[..., None], messages: Any) -> None:
    # The names by which torch.distributed and accelerate know their processes.
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    # The parent's pool of threads is not there after a fork.
    torch.set_num_threads(1)
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    PartialState._reset_state()
    AcceleratorState._reset_state()
    try:
        work(Accelerator(cpu=device == "cpu"), lambda content: messages.put(("report", content)))
    except UserError as error:
        messages.put(("mistake", str(error)))
        messages.close()
        messages.join_thread()
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
