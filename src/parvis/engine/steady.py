"""Numbers that do not depend on company: what the engine changes so that a picture is the same to the bit alone and
beside others, whoever they are (float32 on a CPU).

What was measured (PyTorch 2.13, MKL and oneDNN, 1 and 2 threads), and what follows:

- ``F.linear`` (MKL) gives a row other last bits below 16 rows, and from some hundreds on with two threads. oneDNN's
  packed product gives a row the same bits at every number of rows from 1 to 1024: :func:`steady` packs every layer.
- Attention depends on the number of queries and keys, not on the batch. The engine runs it request by request.
- Elementwise functions take a vector path, and a scalar one for what is left over at the end of every thread's share;
  the two differ in the last bit for SiLU, tanh and their like. :func:`even` adds rows until nothing is left over.
- Norms, softmax and sums go row by row.
- ``F.conv2d`` chooses its kernel by the size of the batch. oneDNN's packed convolution gives a picture the same bits in
  every batch on one thread, and on more as long as every thread has whole pictures: :func:`shares`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache

import torch
from torch import nn

from parvis.model.base import Model
from parvis.model.linear import PackedLinear, pack, packing_problem, rung
from parvis.model.sight import Padded
from parvis.packed import shell
from parvis.system import System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.packing import convolution_problem, pack_convolutions

VECTOR = 32
"""Elements that the widest vector path takes at a time (AVX-512, float32, two registers)."""

GRAIN = 32768
"""Elements that PyTorch gives a thread at least."""


def steady(system: System) -> System:
    """``system`` with every linear layer of its models packed, small ones as well, and every convolution of its
    tokenizer. The system itself stays as it is; all that is not repacked is shared with it."""
    made: dict[int, nn.Module] = {}
    models = {name: _twin(model, made) for name, model in system.models.items()}
    tokenizer = shell(system.tokenizer, made)
    assert isinstance(tokenizer, Tokenizer)
    pack_convolutions(tokenizer)
    return replace(system, models=models, tokenizer=tokenizer)


def _twin(model: Model, made: dict[int, nn.Module]) -> Model:
    twin = shell(model, made)
    assert isinstance(twin, Model)
    pack(twin, least=1)
    return twin


def unsteady(system: System, device: torch.device) -> str | None:
    """Why pictures of a (steady) system may differ in company in their last bits, or ``None`` where they do not."""
    if device.type != "cpu":
        return f"on {device.type} products depend on how many rows there are"
    for model in system.models.values():
        dtype = next(model.parameters()).dtype
        if dtype != torch.float32:
            return f"its precision is {dtype}; the promise is for float32"
        if packing_problem(dtype) is not None:
            return packing_problem(dtype)
        left = sum(isinstance(layer, nn.Linear) for layer in model.modules())
        if left:
            return f"{left} linear layers cannot be packed (shared weights, hooks)"
    if system.tokenizer.dtype != torch.float32:
        return f"its tokenizer's precision is {system.tokenizer.dtype}; the promise is for float32"
    if any(type(layer) is nn.Conv2d for layer in system.tokenizer.modules()):
        return convolution_problem() or "convolutions of its tokenizer cannot be packed (hooks, padding)"
    return None


def shares(tokenizer: Tokenizer, pictures: int) -> int:
    """How many pictures to decode in one run where so many are wanted: every thread takes as many.

    One at a time beyond two threads, and where a layer's channels are no whole vectors: then an elementwise function's
    share may end, or its leftovers lie, within a picture.
    """
    threads = torch.get_num_threads()
    if threads > 2 or any(isinstance(m, nn.GroupNorm) and m.num_channels % VECTOR for m in tokenizer.modules()):
        return 1
    return -(-pictures // threads) * threads


def even(model: Model) -> Padded:
    """How many rows of ``model`` to run where so many are needed: the fewest at which no thread has elements left over,
    whatever the layer, for as many threads as PyTorch has at the time, of those that packed layers run (``rung``)."""
    widths = tuple(sorted(_widths(model)))
    return lambda rows: _even(rows, widths, torch.get_num_threads())


@lru_cache(maxsize=4096)
def _even(rows: int, widths: tuple[int, ...], threads: int) -> int:
    rungs = (count for count in itertools.count(rung(rows)) if count == rung(count))
    return next(count for count in rungs if all(_whole(count * width, threads) for width in widths))


def _whole(elements: int, threads: int) -> bool:
    """Whether every thread's share of so many elements is whole vectors."""
    used = min(threads, -(-elements // GRAIN))
    share = -(-elements // used)
    return share % VECTOR == 0 and elements % VECTOR == 0


def _widths(model: Model) -> set[int]:
    """Widths of what lies between two linear layers: what an activation may be applied to."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | PackedLinear)]
    return {layer.out_features for layer in layers} & {layer.in_features for layer in layers}
