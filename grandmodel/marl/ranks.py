"""One training in several processes, the ranks that ``torchrun`` started: each steps its share of the copies.

What one process would draw, each rank draws whole and takes its part of: the numbers that choose actions, the masks of
dropout, the order of the samples. So the minibatches of all ranks together are those of one process with all copies.
Gradients, the scale of returns and the moments of the advantages are pooled before they are used (synchronous data
parallelism): the training is that of one process up to the order of summation. With one process all is the identity.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from grandmodel.core.errors import ConfigError, TrainingError

TIMEOUT_SECONDS = 600.0  # for the slowest rank: one rollout of its environments, the first one with compilation
T = TypeVar("T")


class World(NamedTuple):
    """Number of this process and how many there are."""

    rank: int
    size: int


def world() -> World:
    """Return this process's place: (0, 1) unless ``torchrun`` or another launcher set RANK and WORLD_SIZE."""
    if _have_met():
        return World(dist.get_rank(), dist.get_world_size())
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return World(int(os.environ.get("RANK", "0")) if size > 1 else 0, size)


def join(device: str = "cpu", timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Meet the other ranks, once a process; nothing where there are none. On ``cuda`` each rank takes its own device.

    Raises ConfigError where the launcher's variables are incomplete, no other rank comes, or the device is absent.
    """
    try:
        on_cuda = torch.device(device).type == "cuda"
    except RuntimeError as error:
        raise ConfigError("device", "torch must know it", device, "Train with device cpu or cuda") from error
    if on_cuda and not torch.cuda.is_available():
        raise ConfigError("device", "torch must find it on this machine", device, "Train with device cpu")
    if world().size == 1 or _have_met():
        return
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Numbers that lie on the host are pooled there, whatever the device.
    backend, limit = "cpu:gloo,cuda:nccl" if on_cuda else "gloo", timedelta(seconds=timeout_seconds)
    try:
        store, rank, size = next(rendezvous("env://", timeout=limit))
        store = dist.PrefixStore(_life(), store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
    except (ValueError, RuntimeError) as error:
        do = "Start the program by `torchrun --nproc-per-node N`, or unset WORLD_SIZE"
        raise ConfigError(_name(), "all ranks must meet", _first_line(error), do) from error
    atexit.register(dist.destroy_process_group)


def share_of(copies: int) -> slice:
    """Return which of all ``copies`` are this rank's. Raises ConfigError where they cannot be shared equally."""
    size = world().size
    if copies % size:
        rule = f"must be a multiple of the number of processes, {size}"
        raise ConfigError("key environments", rule, copies, "Change the one or the other")
    return part_of(copies // size)


def part_of(copies: int) -> slice:
    """Return where this rank's ``copies`` stand among those of all ranks."""
    rank = world().rank
    return slice(rank * copies, (rank + 1) * copies)


def own_minibatches(order: Tensor, count: int, copies: int) -> tuple[Tensor, list[int]]:
    """Cut the ``order`` [M x W] of all ranks' samples into ``count`` minibatches and keep what is this rank's.

    Sample m of the pooled rollout belongs to copy m modulo all copies; this rank has ``copies`` of them.

    Returns:
        This rank's samples, int64, numbered as in its own rollout, and how many belong to each minibatch.
    """
    parts = order.tensor_split(count)
    if world().size > 1:
        everyone = copies * world().size
        numbers = [(part // everyone * copies, part % everyone - part_of(copies).start) for part in parts]
        parts = tuple((step + copy)[(copy >= 0) & (copy < copies)] for step, copy in numbers)
        order = torch.cat(parts)
    return order, [len(part) for part in parts]


def pool(tensors: Sequence[Tensor], samples: int) -> None:
    """Replace ``tensors``, means over ``samples`` of this rank, by the means over the samples of all ranks, in place.

    A rank without samples adds nothing, whatever its tensors hold.
    """
    if world().size == 1:
        return
    own = torch.cat([tensor.reshape(-1) for tensor in tensors])
    own = own * samples if samples else torch.zeros_like(own)
    sums = torch.cat([own, torch.full((1,), float(samples), dtype=own.dtype, device=own.device)])
    _meet(lambda: dist.all_reduce(sums))
    means = (sums[:-1] / sums[-1]).split_with_sizes([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, means, strict=True):
        tensor.copy_(mean.view_as(tensor))


def mean_over_ranks(*numbers: float) -> tuple[float, ...]:
    """Return the mean of each of ``numbers`` over the ranks, in double precision."""
    size = world().size
    if size == 1:
        return numbers
    sums = torch.tensor(numbers, dtype=torch.float64)
    _meet(lambda: dist.all_reduce(sums))
    return tuple((sums / size).tolist())


def gathered(value: T) -> list[T]:
    """Return the ``value`` of each rank on rank 0, and nothing on the others."""
    rank, size = world()
    if size == 1:
        return [value]
    values: list[T] = [value] * size
    _meet(lambda: dist.gather_object(value, values if rank == 0 else None))
    return values if rank == 0 else []


def check_equal(subject: str, hash_of: Callable[[], str]) -> None:
    """Raise TrainingError on all ranks unless the hash of ``subject`` is the same on all; one rank takes none."""
    size = world().size
    if size == 1:
        return
    own, hashes = hash_of(), [""] * size
    _meet(lambda: dist.all_gather_object(hashes, own))
    if len(set(hashes)) > 1:
        do = "Give all ranks the same arguments and equally many copies, on machines of one kind and one file system"
        raise TrainingError(subject, "must be equal on all ranks", [one[:12] for one in hashes], do)


def _meet(exchange: Callable[[], object]) -> None:
    """Run ``exchange``; where another rank has died or hangs, say so."""
    try:
        exchange()
    except RuntimeError as error:
        do = "Look for the first error of another rank. Started again, a training goes on from its checkpoint"
        raise TrainingError(_name(), "all ranks must come to the same step", _first_line(error), do) from error


def _have_met() -> bool:
    return dist.is_available() and dist.is_initialized()


def _life() -> str:
    """Return how often torchrun has restarted the ranks, whose store still holds the addresses of earlier lives.

    With several machines each counts for itself, so that the number cannot be used.
    """
    one_machine = os.environ.get("GROUP_WORLD_SIZE", "1") == "1"
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if one_machine else "0"


def _name() -> str:
    rank, size = world()
    return f"rank {rank} of {size}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
