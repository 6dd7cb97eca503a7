"""Draw orders: every position in the colour of the pass that asks it, from dark (first) to light (last).

python examples/orders.py --side 16 --steps 20 --out orders.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from parvis import Grid, Noise, Order
from parvis.locality import lpd
from parvis.order import diagonals, halton, random, raster, regions
from parvis.output import save_png, sheet
from parvis.schedule import group_sizes

DARK, LIGHT = torch.tensor([20.0, 30, 90]), torch.tensor([255.0, 225, 130])


def picture(order: Order, grid: Grid) -> Image.Image:
    """The first image's order, one pixel per position."""
    passes = torch.arange(len(order.sizes)).repeat_interleave(torch.tensor(order.sizes))
    of_position = passes[order.inverse().view(-1, grid.tokens)[0]].view(grid.height, grid.width, 1)
    share = of_position / max(1, len(order.sizes) - 1)
    return Image.fromarray((DARK + share * (LIGHT - DARK)).to(torch.uint8).numpy())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("orders.png"))
    args = parser.parse_args(argv)

    grid, noise = Grid.square(args.side), Noise((0,))
    sizes = group_sizes(grid.tokens, args.steps)
    orders = {
        "raster": raster(grid),
        "regions (PAR)": regions(grid, 4),
        "diagonals (NAR)": diagonals(grid),
        "random (RandAR)": random(grid, sizes, noise),
        "halton": halton(grid, sizes),
        "locality (LPD)": lpd(grid, sizes, noise),
    }
    captions = [f"{name}: {len(order.sizes)} passes" for name, order in orders.items()]
    tiles = [picture(order, grid).resize((256, 256), Image.Resampling.NEAREST) for order in orders.values()]
    print(save_png(args.out, sheet(tiles, captions, columns=3, tile=256)))


if __name__ == "__main__":
    main()
