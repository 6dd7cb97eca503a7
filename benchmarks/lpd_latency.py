"""One LPD-L image at batch 1 with guidance, 20 passes, against its bare matrix products; and where the time goes.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/lpd_latency.py [--precision auto] [--steps 20] [--repeats 5] [--plain]

The model is the real one with random weights: time does not depend on what they are. "Bare" is every linear layer of
the model run at the shapes and in the order of the 20 passes, nothing in between, in turns with whole generations.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from clock import Split, interleaved, machine, ratio
from linear import Products, bare, flop, lpd_rows
from torch import nn

from parvis.cache.store import Cache
from parvis.canvas import Canvas
from parvis.generate import generate, pixels
from parvis.model.linear import PackedLinear, pack, packing_problem
from parvis.model.transformer import Transformer
from parvis.precision import resolve
from parvis.predict import Categorical
from parvis.request import Request
from parvis.schedule import group_sizes
from parvis.system import System
from parvis.systems.lpd import lpd

MODEL = ("linears", "head", "attention", "cache", "norms", "activation", "embedding", "rest of the model")
PLACES = {
    (PackedLinear, "forward"): "linears",
    (nn.Linear, "forward"): "linears",
    (nn.LayerNorm, "forward"): "norms",
    (F, "gelu"): "activation",
    (F, "scaled_dot_product_attention"): "attention",
    (Cache, "extend"): "cache",
    (Transformer, "embed"): "embedding",
    (Transformer, "answer"): "rest of the model",
    (Categorical, "guide"): "guidance",
    (Categorical, "sample"): "sampling",
}


def system(size: str, steps: int, dtype: torch.dtype, packed: bool) -> System:
    """LPD with random weights in ``dtype``."""
    with torch.device("meta"):
        made = lpd(size, steps=steps)
    for module in (made.models["main"], made.tokenizer):
        module.to_empty(device="cpu").to(dtype).eval()
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                nn.init.normal_(tensor, std=0.02)
    if packed:
        pack(made.models["main"])
    return made


def products(model: Any) -> Products:
    """The linear layers of LPD's transformer."""
    blocks = [(b.attention.qkv, b.attention.proj, b.mlp.fc1, b.mlp.fc2) for b in model.blocks]
    return Products(blocks, model.head.out, model.head.out.in_features)


def where(made: System, request: Request) -> Split:
    """The split of one generation."""
    split = Split()
    timed = replace(made, order=split.timed("order", made.order))
    head = {(made.models["main"].head.out, "forward"): "head"}
    split.during(lambda: generate(timed, request), {**head, **PLACES})
    return split


def table(splits: Sequence[Split]) -> None:
    """Median seconds and share of every label; what is neither model nor sampling is the engine's."""
    labels = {label for split in splits for label in split.seconds}
    seconds = {label: statistics.median(split.seconds[label] for split in splits) for label in labels}
    total = sum(seconds.values())
    for label in sorted(labels, key=lambda label: -seconds[label]):
        calls = splits[0].calls[label]
        print(f"  {label:20} {seconds[label] * 1e3:9.1f} ms  {seconds[label] / total:6.1%}  {calls:6} calls")
    shares = sorted(sum(s.seconds.values()) / (s.seconds["linears"] + s.seconds["head"]) for s in splits)
    print(f"  all over its own linear layers: {statistics.median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f})")
    engine = sum(took for label, took in seconds.items() if label not in (*MODEL, "sampling"))
    print(f"  engine (all but the model and sampling): {engine * 1e3:.1f} ms, {engine / total:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="auto", help="fp32, bf16 or auto")
    parser.add_argument("--size", default="l", choices=["l", "xl", "xxl"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plain", action="store_true", help="do not pack the linear layers")
    given = parser.parse_args()
    dtype = resolve(given.precision, "cpu")
    print(f"{machine()}, {dtype}")
    print(f"packing: {'off' if given.plain else packing_problem(dtype) or 'on'}")
    made = system(given.size, given.steps, dtype, not given.plain)
    request = Request(torch.tensor([1]), seeds=(7,), steps=given.steps)

    sizes = group_sizes(256, given.steps)
    passes = lpd_rows(sizes)
    fed = [len(rows) for rows in made.models["main"].plan(sizes).passes]
    assert fed == [rows for rows, _ in passes], "the bare products are not those of the model's passes"
    layers = products(made.models["main"])
    canvas = Canvas.empty(1, 256)
    runs = {
        "image": lambda: generate(made, request),
        "bare": bare(layers, passes, 2, dtype),
        "decode": lambda: pixels(made, canvas),
    }
    seconds = interleaved(runs, given.repeats)
    took = {name: statistics.median(times) for name, times in seconds.items()}
    work = flop(layers, passes, 2) / 1e9
    print(f"tokens of one image, {given.steps} passes:  {took['image']:7.3f} s")
    print(f"its bare matrix products:       {took['bare']:7.3f} s   ({work / took['bare']:.0f} GFLOP/s)")
    print(f"ratio:                             {ratio(seconds, 'image', 'bare')}")
    print(f"tokens to pixels (VQ-16):       {took['decode']:7.3f} s")
    print("where the time goes:")
    table([where(made, request) for _ in range(given.repeats)])


if __name__ == "__main__":
    main()
