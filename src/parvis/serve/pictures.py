"""Pictures that clients send, and pictures as clients want them."""

from __future__ import annotations

import base64
import io
import struct
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image

from parvis.data.picture import CLEAR, frames_of, read_image, read_mask
from parvis.output import Origin, png_bytes
from parvis.serve.errors import Refused

TAKEN = ("PNG", "JPEG", "WEBP")
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, MemoryError, LookupError, TypeError, struct.error)


def received(files: Mapping[str, bytes], name: str, limit: int) -> Image.Image:
    """The header of the picture ``name``; nothing of it is decoded yet.

    Refuses what is missing, no PNG, JPEG or WebP, animated, or of more than ``limit`` pixels.
    """
    if name not in files:
        raise Refused(400, f"{name} is missing: send a PNG, JPEG or WebP file", param=name, code="missing_parameter")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(files[name]), formats=TAKEN)
            frames = frames_of(picture)
    except Image.DecompressionBombError:
        raise _too_large(name, limit) from None
    except _BROKEN:
        raise Refused(400, f"{name} is no PNG, JPEG or WebP picture that can be read", param=name) from None
    if picture.width * picture.height > limit:
        raise _too_large(name, limit)
    if frames != 1:
        raise Refused(400, f"{name} has {frames} frames; send a picture of one", param=name)
    return picture


def edited(files: Mapping[str, bytes], limit: int, masked: bool) -> tuple[Image.Image, Image.Image | None]:
    """The picture to edit as RGB, and its mask in grey, white = draw anew: the file ``mask``, else where the picture
    itself is transparent. ``masked``: whether there is to be one."""
    header = received(files, "image", limit)
    clear = header.mode in CLEAR or "transparency" in header.info
    if "mask" in files:
        received(files, "mask", limit)
    picture = read_image(io.BytesIO(files["image"]), limit, "image")
    if not masked:
        return picture, None
    if "mask" not in files and not clear:
        raise Refused(
            400,
            "mask is missing: send a picture of the same size, transparent (or white) where to draw anew; or keep or "
            "margins in its place",
            param="mask",
            code="missing_parameter",
        )
    which = "mask" if "mask" in files else "image"
    return picture, read_mask(io.BytesIO(files[which]), limit, which)


def encode(image: Image.Image, kind: str, quality: int, origin: Origin | None = None) -> str:
    """A picture as a file of ``kind`` (png, jpeg or webp) in base64; a PNG says how it was made."""
    if kind == "png":
        return base64.b64encode(png_bytes(image, origin)).decode()
    buffer = io.BytesIO()
    how: dict[str, Any] = {"quality": quality}
    image.save(buffer, format=kind.upper(), **how)
    return base64.b64encode(buffer.getvalue()).decode()


def _too_large(name: str, limit: int) -> Refused:
    return Refused(413, f"{name} has more than {limit} pixels, the most that are taken; scale it down", param=name)
