"""How pictures are cut before they are encoded: the centre, ten or twenty crops, or anywhere.

A cut turns one picture into views of S x S pixels; a cache stores the codes of all of them, training draws one. Where
:func:`anywhere` cuts, no cache can hold all views: such pictures are encoded while training (``train/fresh.py``).
"""

from __future__ import annotations

from PIL import Image, ImageOps

from parvis.data.picture import centre_crop
from parvis.errors import DataError, UnknownName

CROPS = {"none": 1, "centre": 1, "ten": 10, "twenty": 20}
"""Views that a cut makes of a picture; ``ten`` and ``twenty`` hold mirror images, the others do not."""
SCALES = {"ten": (1.1,), "twenty": (1.1, 1.05)}
"""Ten crops are cut out of the centre at this many times the size (PAR and NAR; LlamaGen at both)."""
ANYWHERE = 1.125
"""Short side of a picture that is cut anywhere, as a multiple of the size (VAR)."""


def views(picture: Image.Image, size: int, crop: str = "centre") -> list[Image.Image]:
    """The views of ``picture``, all ``size`` x ``size``.

    * ``centre``: the middle square (ADM's preparation).
    * ``ten``: the middle square at 1.1 times the size, of it the four corners (top left, top right, bottom left,
      bottom right) and the centre, then the same of its mirror image (LlamaGen's ten-crop).
    * ``twenty``: those, and ten more at 1.05 times the size.
    * ``none``: the picture as it is.

    Raises:
        UnknownName: no such crop. DataError: ``none``, and it has another size.
    """
    if crop not in CROPS:
        raise UnknownName("crop", crop, CROPS)
    if crop in SCALES:
        wides = [centre_crop(picture, int(size * scale)) for scale in SCALES[crop]]
        return [view for wide in wides for view in (*_five(wide, size), *_five(ImageOps.mirror(wide), size))]
    if crop == "none" and picture.size != (size, size):
        raise DataError(
            f"a picture has {picture.width} x {picture.height} pixels, not {size} x {size}; cut it with --crop centre"
        )
    return [picture if crop == "none" else centre_crop(picture, size)]


def anywhere(picture: Image.Image, size: int, across: float, down: float) -> Image.Image:
    """A square of ``size`` pixels out of the picture, scaled (Lanczos) until its short side is 1.125 times that (VAR).

    Args:
        across, down: where, uniform in [0, 1): each place between the edges is as likely as any other.
    """
    short = round(ANYWHERE * size)
    factor = short / min(picture.size)
    width, height = (short if side == min(picture.size) else int(factor * side) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = int(across * (width - size + 1)), int(down * (height - size + 1))
    return picture.crop((left, top, left + size, top + size))


def _five(picture: Image.Image, size: int) -> list[Image.Image]:
    right, bottom = picture.width - size, picture.height - size
    middle = round(right / 2), round(bottom / 2)
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom), middle]
    return [picture.crop((x, y, x + size, y + size)) for x, y in places]
