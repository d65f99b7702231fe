"""What several processes do together."""

import os
import sys
from datetime import timedelta

import torch
from torch import distributed


def start(processes):
    """Starts this program again as so many processes, unless it is one of them."""
    if processes == 1 or "RANK" in os.environ:
        return
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc-per-node", str(processes), "-m", "finetuning"]
    os.execv(sys.executable, launcher + sys.argv[1:])


def join(device):
    """Joins the other processes, if there are any, and returns the device of this one."""
    on_gpu = device == "cuda" or device == "auto" and torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", 0))
    if on_gpu:
        torch.cuda.set_device(local)
    if "RANK" in os.environ:
        # The first process may read images or segment alone.
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(hours=12))
    return torch.device("cuda", local) if on_gpu else torch.device("cpu")


def leave():
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank():
    return distributed.get_rank() if distributed.is_initialized() else 0


def count():
    return distributed.get_world_size() if distributed.is_initialized() else 1


def first():
    """Whether this is the process that writes and prints."""
    return rank() == 0


def wait():
    if distributed.is_initialized():
        distributed.barrier()


def share(tensors):
    """Gives all processes the tensors of the first one."""
    if distributed.is_initialized():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


def gathered(value):
    """The value of every process."""
    if not distributed.is_initialized():
        return [value]
    values = [None] * count()
    distributed.all_gather_object(values, value)
    return values
