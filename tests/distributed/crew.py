"""Processes that compute together: each calls a function with its rank."""

import multiprocessing
import pickle
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

TIMEOUT = timedelta(seconds=20)
"""Longer than any step of these tests takes, and short enough that a hang is found."""


def together(folder, size, function, *args):
    """Call ``function(rank, *args)`` in so many processes of a group; return what each returns.

    An error is returned, too. A process that dies leaves None.
    """
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("spawn")
    crew = [
        context.Process(target=_work, args=(rank, size, folder, function, args))
        for rank in range(size)
    ]
    for process in crew:
        process.start()
    for process in crew:
        process.join(120)
    files = [folder / f"{rank}.pickle" for rank in range(size)]
    return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]


def _work(rank, size, folder, function, args):
    torch.set_num_threads(1)
    method = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        result = function(rank, *args)
    except Exception as error:
        result = error
    Path(folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    dist.destroy_process_group()
