"""A model over the processes of a run (DDP, FSDP2), and what may be done to its blocks: computed again, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from parvis.errors import UsageError
from parvis.train.distributed import World


class Step(nn.Module):
    """Model and loss as one module, whose ``forward`` is what DDP and FSDP2 hook into: objectives call other methods
    of the model than its ``forward``."""

    def __init__(self, model: nn.Module, loss_fn: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: dict[str, Tensor], noise: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the metrics cut off from the graph."""
        result = self.loss_fn(self.model, batch, noise)
        loss, metrics = result if isinstance(result, tuple) else (result, {})
        return loss, {name: value.detach() for name, value in metrics.items()}


def spread(world: World, step: Step) -> nn.Module:
    """``step`` ready for training in all processes, every one with the main process's weights."""
    if world.size == 1:
        return step
    if not world.shard:
        prepared: nn.Module = world.accelerator.prepare_model(step, device_placement=False)
        return prepared
    for tensor in step.state_dict().values():
        dist.broadcast(tensor, 0)
    scalars = [name for name, p in step.named_parameters() if p.ndim == 0]
    if scalars:
        raise UsageError(f"parameters without dimensions cannot be divided: {', '.join(scalars)}; train without shard")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    for block in blocks_of(step.model):
        fully_shard(block, mesh=mesh)
        if hasattr(block, "modulate"):  # asked for outside of forward, once per batch
            register_fsdp_forward_method(block, "modulate")
    fully_shard(step, mesh=mesh)
    return step


def held_back(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Around a forward and backward pass: gradients go to the other processes only in the ``last`` part of a step."""
    if hasattr(module, "set_requires_gradient_sync"):
        cast(Any, module).set_requires_gradient_sync(last)
    if not last and isinstance(module, DistributedDataParallel):
        waiting: AbstractContextManager[None] = module.no_sync()
        return waiting
    return nullcontext()


@contextmanager
def tuned(model: nn.Module, again: bool, compiled: bool) -> Iterator[None]:
    """Inside the block the model's blocks are as asked for; afterwards as they were.

    Args:
        again: what is inside a block is computed again in the backward pass instead of kept (gradient checkpointing).
        compiled: each block is compiled by itself: they share their code, so one is compiled and all are fast. Random
            numbers are those of the uncompiled block.

    :raises UsageError: the model has no blocks
    """
    blocks = blocks_of(model)
    if (again or compiled) and not blocks:
        raise UsageError(
            f"{type(model).__name__} has no list of blocks, so nothing can be computed again or compiled; "
            "leave gradient_checkpointing and compile out"
        )
    for block in blocks:
        if again:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if compiled:
            block.compile(options={"fallback_random": True})  # dropout draws the numbers that it draws uncompiled
    try:
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)
            if compiled:
                block._compiled_call_impl = None


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a network: members of module lists that have a ``forward`` and parts of their own."""
    found: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, nn.ModuleList) and len(child) and all(_is_block(m) for m in child):
            found += list(child)
        else:
            found += blocks_of(child)
    return found


def _is_block(module: nn.Module) -> bool:
    own = type(module).forward is not nn.Module.forward
    return own and any(True for _ in module.children()) and any(True for _ in module.parameters())


def divided(tensor: Tensor) -> bool:
    """Whether each process holds a part of it alone (a DTensor, whose module takes long to import)."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be divided; then every process must ask."""
    return cast(Any, tensor).full_tensor() if divided(tensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be divided, in place."""
    return cast(Any, tensor).to_local() if divided(tensor) else tensor


def like(target: Tensor, value: Tensor) -> Tensor:
    """The whole ``value``, the same in every process, divided as ``target`` is."""
    if not divided(target):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(target, DTensor)
    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements, src_data_rank=None)
