"""A system of one's own: the black fields of a checkerboard in growing groups, then all white ones in one pass.

docs/extending.md goes through this file. Run it, and it learns four striped pictures of 8 x 8 tokens in some seconds
and draws them again:

    python examples/checkerboard.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from parvis import Grid, Noise, Order, Preset, Request, System, guidance
from parvis.decode.parallel import parallel
from parvis.generate import generate
from parvis.model.context import LatentNullCondition
from parvis.model.transformer import Size
from parvis.noise import ORDER
from parvis.schedule import group_sizes
from parvis.systems import lpd
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.objective import order_cross_entropy, random_order


def checkerboard(grid: Grid, steps: int, noise: Noise) -> Order:
    """Black fields in random order, one per image, in ``steps`` - 1 growing groups; then every white field at once."""
    y, x = grid.coords()[:, 2:].unbind(1)
    white = (y + x) % 2
    shuffled = noise.permutation(grid.tokens, ORDER).cpu()
    positions = shuffled.gather(1, white[shuffled].argsort(dim=1, stable=True))
    black = grid.tokens - int(white.sum())
    return Order(positions, (*group_sizes(black, steps - 1), grid.tokens - black))


def system(side: int = 8, classes: int = 4, steps: int = 6) -> System:
    """LPD's transformer under the checkerboard's order, ``side`` x ``side`` tokens."""
    tokenizer = VQGAN(VQConfig(channels=8, multipliers=(1, 1), groups=4, z_channels=8, codes=16, attention=False))
    grid = tokenizer.grid(side * tokenizer.factor, side * tokenizer.factor)
    size = Size(depth=2, width=64, heads=4, hidden=256)
    model = lpd.transformer(
        size, grid, vocabulary=tokenizer.vocabulary, condition=LatentNullCondition(classes, size.width)
    )
    lpd.initialise(model)
    return System(
        name="checkerboard",
        cite="Parvis, examples/checkerboard.py",
        grid=grid,
        tokenizer=tokenizer,
        models={"main": model},
        order=checkerboard,
        decoder=parallel,
        guidance=guidance.constant,
        preset=Preset(steps=steps),
    )


def stripes(grid: Grid, classes: int) -> Tensor:
    """One picture per class, codes [classes, N]: vertical stripes, then ever steeper diagonal ones."""
    y, x = grid.coords()[:, 2:].unbind(1)
    return torch.stack([(x + slope * y) % 5 for slope in range(classes)])


def teach(system: System, codes: Tensor, steps: int = 80, seed: int = 0) -> float:
    """Train on random orders, of which the checkerboard's is one (LPD section 4.1); returns the last loss, in nats."""
    model, labels = system.models["main"], torch.arange(len(codes))
    tables = [group_sizes(system.grid.tokens, passes) for passes in (4, 6, 12)]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = order_cross_entropy(model, codes, labels, random_order(len(codes), tables, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main() -> None:
    torch.manual_seed(0)
    board = system()
    codes = stripes(board.grid, 4)
    print(f"loss {teach(board, codes):.3f}")
    canvas, passes = generate(board, Request(torch.arange(4), seeds=(0, 1, 2, 3)))
    right = (canvas.values == codes).float().mean().item()
    print(f"{board.grid.tokens} tokens in {passes} passes, {100 * right:.0f} % as taught")
    for rows in zip(*(picture.view(8, 8).tolist() for picture in canvas.values), strict=True):
        print("   ".join("".join(" .-+#"[code] if code < 5 else "?" for code in row) for row in rows))


if __name__ == "__main__":
    main()
