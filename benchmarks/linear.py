"""Linear layers on a CPU: plain against packed, by rows; and all matrix products of one LPD-L image.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/linear.py [--dtypes float32 bfloat16] [--repeats 5] [--depth 24]

The weights are cycled through more memory than a last-level cache holds, as they are in a model. On a CPU without
AVX512_BF16 or AMX bfloat16 is several times slower than float32: ask for ``--dtypes float32`` there, or fewer blocks.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from clock import machine, medians
from torch import nn

from parvis.model.linear import pack, packing_problem
from parvis.schedule import group_sizes

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 200)


@dataclass(frozen=True)
class Products:
    """The linear layers of a transformer: four per block (qkv, proj, fc1, fc2), and the head."""

    blocks: Sequence[tuple[nn.Module, nn.Module, nn.Module, nn.Module]]
    head: nn.Module
    width: int


def lpd_rows(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(rows fed, rows asked) of each pass of one image: the group before (at first the class) and the queries."""
    return [(before + size, size) for before, size in zip((1, *sizes), sizes, strict=False)]


def bare(products: Products, passes: Sequence[tuple[int, int]], batch: int, dtype: torch.dtype) -> Callable[[], None]:
    """All matrix products of one generation and nothing else, at the shapes and in the order of its passes."""
    inputs = [
        (torch.randn(batch, rows, products.width).to(dtype), torch.randn(batch, asked, products.width).to(dtype))
        for rows, asked in passes
    ]

    def run() -> None:
        with torch.inference_mode():
            for x_BRD, answering_BnD in inputs:
                for qkv, proj, fc1, fc2 in products.blocks:
                    qkv(x_BRD)
                    proj(x_BRD)
                    fc2(fc1(x_BRD))
                products.head(answering_BnD)

    return run


def flop(products: Products, passes: Sequence[tuple[int, int]], batch: int) -> int:
    """Multiplications and additions of :func:`bare`."""

    def size(*layers: Any) -> int:
        return sum(layer.in_features * layer.out_features for layer in layers)

    body = sum(size(*block) for block in products.blocks)
    return 2 * batch * sum(rows * body + asked * size(products.head) for rows, asked in passes)


def lpd_l(dtype: torch.dtype, depth: int = 24) -> Products:
    """Linear layers of LPD-L's sizes, random."""

    def layer(fan_in: int, fan_out: int, bias: bool = True) -> nn.Linear:
        made = nn.Linear(fan_in, fan_out, bias=bias, dtype=dtype, device="meta").to_empty(device="cpu")
        for parameter in made.parameters():
            nn.init.uniform_(parameter, -0.05, 0.05)
        return made

    blocks = [(layer(1024, 3072), layer(1024, 1024), layer(1024, 4096), layer(4096, 1024)) for _ in range(depth)]
    return Products(blocks, layer(1024, 16384, bias=False), 1024)


def packed(products: Products) -> Products:
    """A packed copy."""
    qkv, proj, fc1, fc2 = zip(*[[pack(copy.deepcopy(layer)) for layer in b] for b in products.blocks], strict=True)
    return Products(list(zip(qkv, proj, fc1, fc2, strict=True)), pack(copy.deepcopy(products.head)), products.width)


def by_rows(dtypes: Sequence[torch.dtype], repeats: int) -> None:
    """GFLOP/s of a 1024 -> 4096 layer, eight copies in turn."""
    layers: dict[str, list[nn.Module]] = {}
    for dtype in dtypes:
        plain: list[nn.Module] = [nn.Linear(1024, 4096, dtype=dtype) for _ in range(8)]
        layers[f"plain {dtype}"] = plain
        layers[f"packed {dtype}"] = [pack(copy.deepcopy(layer)) for layer in plain]
    names = [name.replace("torch.", "") for name in layers]
    print("GFLOP/s of a linear layer 1024 -> 4096, weights not in the cache")
    print("rows  " + "  ".join(f"{name:>16}" for name in names))
    for rows in ROWS:

        def runner(group: list[nn.Module], x: torch.Tensor) -> Callable[[], None]:
            def run() -> None:
                for layer in group:
                    layer(x)

            return run

        runs = {
            name: runner(group, torch.randn(rows, 1024).to(next(group[0].parameters()).dtype))
            for name, group in layers.items()
        }
        with torch.inference_mode():
            took = medians(runs, repeats)
        rates = [8 * 2 * rows * 1024 * 4096 / seconds / 1e9 for seconds in took.values()]
        print(f"{rows:4}  " + "  ".join(f"{rate:16.1f}" for rate in rates), flush=True)


def one_image(dtypes: Sequence[torch.dtype], repeats: int, depth: int) -> None:
    """Seconds of all matrix products of one LPD-L image."""
    passes = lpd_rows(group_sizes(256, 20))
    print(f"\nall matrix products of one LPD-L image ({len(passes)} passes, guidance, {depth} blocks)")
    for dtype in dtypes:
        plain = lpd_l(dtype, depth)
        work = flop(plain, passes, 2) / 1e9
        runs = {"plain": bare(plain, passes, 2, dtype), "packed": bare(packed(plain), passes, 2, dtype)}
        took = medians(runs, repeats)
        cells = "   ".join(f"{name} {seconds:6.2f} s ({work / seconds:4.0f} GFLOP/s)" for name, seconds in took.items())
        print(f"{str(dtype).removeprefix('torch.'):>9}   {cells}   {took['plain'] / took['packed']:.2f}x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--depth", type=int, default=24, help="blocks of the second table; LPD-L has 24")
    given = parser.parse_args()
    dtypes = [getattr(torch, name) for name in given.dtypes]
    print(machine())
    for dtype in dtypes:
        print(f"packing {dtype}: {packing_problem(dtype) or 'available'}")
    by_rows(dtypes, given.repeats)
    one_image(dtypes, given.repeats, given.depth)


if __name__ == "__main__":
    main()
