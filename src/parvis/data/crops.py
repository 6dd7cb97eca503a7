"""How pictures are cut before they are encoded: the centre, or ten crops.

A cut turns one picture into views of S x S pixels; a cache stores the codes of all of them, training draws one.
"""

from __future__ import annotations

from PIL import Image, ImageOps

from parvis.data.picture import centre_crop
from parvis.errors import DataError, UnknownName

CROPS = {"none": 1, "centre": 1, "ten": 10}
"""Views that a cut makes of a picture; ``ten`` holds mirror images, the others do not."""
TEN_SCALE = 1.1
"""Ten-crop first cuts the centre at this many times the size (LlamaGen, PAR and NAR; LlamaGen also at 1.05)."""


def views(picture: Image.Image, size: int, crop: str = "centre") -> list[Image.Image]:
    """The views of ``picture``, all ``size`` x ``size``.

    * ``centre``: the middle square (ADM's preparation).
    * ``ten``: the middle square at 1.1 times the size, of it the four corners (top left, top right, bottom left,
      bottom right) and the centre, then the same of its mirror image (LlamaGen's ten-crop).
    * ``none``: the picture as it is.

    Raises:
        UnknownName: no such crop. DataError: ``none``, and it has another size.
    """
    if crop not in CROPS:
        raise UnknownName("crop", crop, CROPS)
    if crop == "ten":
        wide = centre_crop(picture, int(size * TEN_SCALE))
        return [*_five(wide, size), *_five(ImageOps.mirror(wide), size)]
    if crop == "none" and picture.size != (size, size):
        raise DataError(
            f"a picture has {picture.width} x {picture.height} pixels, not {size} x {size}; cut it with --crop centre"
        )
    return [picture if crop == "none" else centre_crop(picture, size)]


def _five(picture: Image.Image, size: int) -> list[Image.Image]:
    right, bottom = picture.width - size, picture.height - size
    middle = round(right / 2), round(bottom / 2)
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom), middle]
    return [picture.crop((x, y, x + size, y + size)) for x, y in places]
