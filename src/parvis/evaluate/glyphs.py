"""Does writing survive? Letters are drawn, taken through a tokenizer, and read back.

In the manner of VTBench (Lin et al. 2025, arXiv 2505.13439), which reads with OCR. Here each place is compared with
every letter as it was drawn, and the one that correlates best is what is read: no OCR, no language, a lower bar than
reading a page. What is lost here is lost for any reader. Legend: B pictures, P places, A letters, c pixels per place.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from parvis.errors import UsageError
from parvis.evaluate.reconstruction import grey

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
ALIKE = ("Cc", "Oo0", "Ss", "Vv", "Ww", "Xx", "Zz", "Il1", "Uu", "Pp", "Kk")
"""Letters that differ in size alone, or hardly; one is right where another of its kind was drawn."""


@lru_cache(maxsize=32)
def letters(cell: int) -> Tensor:
    """Every letter, black on white, float32 [A, c, c] in [-1, 1], in Pillow's own font.

    :raises UsageError: fewer than 6 pixels
    """
    if cell < 6:
        raise UsageError(f"letters of {cell} pixels cannot be told apart even before a tokenizer; give 6 or more")
    font = ImageFont.load_default(round(cell * 0.8))
    drawn = []
    for letter in LETTERS:
        page = Image.new("L", (cell, cell), 255)
        ImageDraw.Draw(page).text((cell / 2, cell * 0.76), letter, fill=0, font=font, anchor="ms")
        drawn.append(np.asarray(page, np.float32))
    return torch.from_numpy(np.stack(drawn)) / 127.5 - 1


def page(side: int, cell: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """``count`` pictures [B, 3, side, side] full of random letters, and which they are, long [B, P].

    :raises UsageError: a place larger than a picture
    """
    per = side // cell
    if per < 1:
        raise UsageError(f"a letter of {cell} pixels does not fit a picture of {side}")
    chosen = torch.randint(len(LETTERS), (count, per, per), generator=torch.Generator().manual_seed(seed))
    placed = letters(cell)[chosen].permute(0, 1, 3, 2, 4).reshape(count, 1, per * cell, per * cell)
    pages = torch.ones(count, 3, side, side)
    pages[:, :, : per * cell, : per * cell] = placed
    return pages, chosen.flatten(1)


def read(pages_B3SS: Tensor, cell: int) -> Tensor:
    """What is read at every place, long [B, P]: the letter whose picture correlates best with what is there."""
    per = pages_B3SS.shape[-1] // cell
    shades = grey(pages_B3SS)[:, 0, : per * cell, : per * cell]
    places = shades.reshape(len(shades), per, cell, per, cell).transpose(2, 3).reshape(len(shades), per * per, -1)
    known = (letters(cell).double().flatten(1) + 1) / 2
    return (_unit(places) @ _unit(known).T).argmax(2)


def legible(found_BP: Tensor, drawn_BP: Tensor) -> float:
    """The share of letters that are read as what they are, or as one that looks alike."""
    kind = list(range(len(LETTERS)))
    for group in ALIKE:
        for letter in group:
            kind[LETTERS.index(letter)] = LETTERS.index(group[0])
    kinds = torch.tensor(kind)
    return float((kinds[found_BP] == kinds[drawn_BP]).double().mean())


def _unit(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    unit: Tensor = centred / centred.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit
