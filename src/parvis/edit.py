"""Editing: which tokens of a picture stay, and how kept pixels are pasted back.

Any system that can be given known tokens edits without being trained for it: the picture is encoded, tokens under the
mask are forgotten, the order is planned over those, all others are prefilled (LPD, arXiv 2507.01957, section 4.3).

Legend: H, W pixels, N tokens, f pixels per token side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from parvis.data.picture import PIXEL_LIMIT, read_image, read_mask
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.noise import ORDER, Noise

Source: TypeAlias = Image.Image | str | Path


@dataclass(frozen=True, eq=False)
class Edit:
    """A picture at the model's size and what to draw anew.

    Attributes:
        pixels: float32 [1, 3, H, W] in [-1, 1]. redraw: bool [H, W]; ``None`` for a variation, where tokens are chosen
            per image. keep: share of the tokens that a variation keeps. feather: pixels of the seam outside the mask.
        what: ``inpaint``, ``outpaint`` or ``vary``.
    """

    pixels: Tensor
    redraw: Tensor | None
    keep: float = 0.0
    feather: int = 0
    what: str = "inpaint"

    def known(self, grid: Grid, factor: int, seeds: Sequence[int]) -> Tensor:
        """The tokens that stay, bool [B, N]: those without a pixel to redraw, or for a variation ``keep`` N at random.

        Raises:
            UsageError: the grid is not one plain image, or the mask touches every token.
        """
        if not grid.flat:
            raise UsageError(f"only systems with one token per cell edit; this one has scales {grid.scales}")
        if self.redraw is not None:
            cells = F.max_pool2d(self.redraw[None, None].float(), factor).flatten() > 0
            if bool(cells.all()):
                raise UsageError(
                    f"the mask touches every token ({factor} x {factor} pixels each), so nothing is kept for the model "
                    "to see; mark less, or generate from the prompt alone"
                )
            return (~cells).expand(len(seeds), -1)
        count = min(max(1, round(self.keep * grid.tokens)), grid.tokens - 1)
        first = Noise(seeds).permutation(grid.tokens, ORDER)[:, :count]
        return torch.zeros(len(seeds), grid.tokens, dtype=torch.bool).scatter_(1, first, True)

    def pasted(self, drawn: Tensor) -> Tensor:
        """``drawn`` [B, 3, H, W] under the mask, the picture itself elsewhere; between them a seam outside the mask.
        A variation has no mask and is returned as drawn."""
        if self.redraw is None:
            return drawn
        share = seam(self.redraw, self.feather).to(drawn.device)
        return torch.lerp(self.pixels.to(drawn.device), drawn, share)


def seam(redraw: Tensor, feather: int) -> Tensor:
    """How much of the drawn picture shows, float32 [H, W]: 1 under the mask, falling linearly with the (Chebyshev)
    distance d from it, 1 - d / (feather + 1), to 0 beyond ``feather`` pixels."""
    reach = redraw[None, None].float()
    share = reach.clone()
    for distance in range(1, feather + 1):
        reach = F.max_pool2d(reach, 3, stride=1, padding=1)
        share = torch.maximum(share, reach * (1 - distance / (feather + 1)))
    return share[0, 0]


def inpaint(image: Source, mask: Source | Tensor, size: tuple[int, int], feather: int = 0, crop: bool = False) -> Edit:
    """Draw anew what the mask says.

    Args:
        image: a picture or its file. mask: of the same size; white, or transparent where it has transparency, is drawn
            anew; or bool [H, W], True is drawn anew.
        size: (width, height) of the model's pictures; another shape of picture is refused, or its middle taken with
            ``crop``. feather: pixels of the seam in which kept pixels fade into drawn ones.

    Raises:
        DataError: a file that cannot be read. UsageError: the mask is of another size, keeps or forgets everything, or
            the picture has another shape.
    """
    picture = read_image(image, still=True)
    marked = _mask_image(mask)
    if marked.size != picture.size:
        raise UsageError(
            f"the mask is {_times(marked.size)} pixels and the picture {_times(picture.size)}; "
            "make the mask from the picture, at its size"
        )
    picture, marked = (_fitted(part, size, crop) for part in (picture, marked))
    return Edit(_pixels(picture), _checked(torch.from_numpy(np.array(marked) >= 128)), feather=_pixels_of(feather))


def outpaint(
    image: Source,
    margins: tuple[int, int, int, int],
    size: tuple[int, int],
    feather: int = 0,
    crop: bool = False,
) -> Edit:
    """Draw what lies around a picture: it is put into a larger frame, which is scaled to the model's size.

    Args:
        image: a picture or its file. margins: pixels of the picture added on the left, top, right and bottom.
        size, feather, crop: as for :func:`inpaint`, for the frame.

    Raises:
        DataError: a file that cannot be read. UsageError: margins that are negative or all 0, a frame that is too
            large, or one of another shape.
    """
    picture = read_image(image, still=True)
    left, top, right, bottom = margins
    if min(margins) < 0 or not any(margins):
        raise UsageError(f"margins (left, top, right, bottom) are 0 or more and not all 0; got {margins}")
    whole = (picture.width + left + right, picture.height + top + bottom)
    if whole[0] * whole[1] > PIXEL_LIMIT:
        raise UsageError(
            f"with its margins the picture has {_times(whole)} pixels, more than the limit of {PIXEL_LIMIT}; give "
            "smaller margins, or scale the picture down first"
        )
    frame, marked = Image.new("RGB", whole, (255, 255, 255)), Image.new("L", whole, 255)
    frame.paste(picture, (left, top))
    marked.paste(0, (left, top, left + picture.width, top + picture.height))
    frame, marked = (_fitted(part, size, crop) for part in (frame, marked))
    redraw = _checked(torch.from_numpy(np.array(marked) >= 128))
    return Edit(_pixels(frame), redraw, feather=_pixels_of(feather), what="outpaint")


def vary(image: Source, keep: float, size: tuple[int, int], crop: bool = False) -> Edit:
    """A picture like this one: a share ``keep`` of its tokens, chosen at random per image, stays.

    Raises:
        DataError: a file that cannot be read. UsageError: keep is not between 0 and 1, or another shape of picture.
    """
    if not 0 < keep < 1:
        raise UsageError(f"keep is the share of tokens that stay, between 0 and 1; got {keep}")
    picture = read_image(image, still=True)
    return Edit(_pixels(_fitted(picture, size, crop)), None, keep, what="vary")


def _mask_image(mask: Source | Tensor) -> Image.Image:
    """As a grey picture, white = drawn anew."""
    if isinstance(mask, Tensor):
        if mask.dtype != torch.bool or mask.ndim != 2:
            raise UsageError(f"a mask is a picture or bool [H, W]; got {mask.dtype} {list(mask.shape)}")
        return Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255)
    return read_mask(mask)


def _fitted(picture: Image.Image, size: tuple[int, int], crop: bool) -> Image.Image:
    """Scaled to ``size``; another shape is cut to its middle with ``crop``, else refused. A mask stays sharp."""
    width, height = size
    if picture.width * height != picture.height * width:
        if not crop:
            raise UsageError(
                f"the picture is {_times(picture.size)} pixels, which has another shape than the model's "
                f"{_times(size)}; crop it, or ask for its middle with crop"
            )
        scale = min(picture.width / width, picture.height / height)
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (picture.width - w) // 2, (picture.height - h) // 2
        picture = picture.crop((left, top, left + w, top + h))
    if picture.size == size:
        return picture
    # of a mask every pixel counts that is touched, so that no marked detail is lost
    if picture.mode == "L":
        marked = torch.from_numpy(np.array(picture) >= 128)[None, None].float()
        pooled = F.adaptive_max_pool2d(marked, (height, width))[0, 0]
        return Image.fromarray((pooled * 255).to(torch.uint8).numpy())
    return picture.resize(size, Image.Resampling.LANCZOS)


def _pixels_of(feather: int) -> int:
    if not 0 <= feather <= 1024:
        raise UsageError(f"feather is a number of pixels, 0 to 1024; got {feather}")
    return feather


def _checked(redraw: Tensor) -> Tensor:
    if not bool(redraw.any()):
        raise UsageError("the mask marks nothing: all is kept and nothing is left to draw; paint white what to redraw")
    if bool(redraw.all()):
        raise UsageError("the mask marks everything: nothing is kept; generate from the prompt alone instead")
    return redraw


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
