"""Picture files that may come from anywhere: decoded with limits, as RGB or as a mask, cut to a square."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageOps

from parvis.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
PIXEL_LIMIT = 64_000_000
CLEAR = ("RGBA", "LA", "PA", "La", "RGBa")


class _Silence:
    """No warnings inside the block. Several threads may be inside at once, which ``warnings.catch_warnings`` alone
    does not bear: the last to leave would put back what the first had changed."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.before = warnings.catch_warnings()
                self.before.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.before.__exit__(None, None, None)


_SILENCE = _Silence()


def read_image(
    source: str | Path | BinaryIO | Image.Image,
    limit: int = PIXEL_LIMIT,
    name: str | None = None,
    *,
    still: bool = False,
) -> Image.Image:
    """A picture as RGB: turned as its EXIF data say, transparency on white, palettes, CMYK, grey and 16 bits
    converted, the first frame of many unless it must be ``still``. ``name``: what an error calls it, its path unless
    given.

    Raises:
        DataError: it has more than ``limit`` pixels (checked before decoding), is damaged, of another format, or
            should be ``still`` and is not.
    """
    name = name or _name(source)
    return _rgb(_opened(source, limit, name, still), name)


def read_mask(
    source: str | Path | BinaryIO | Image.Image, limit: int = PIXEL_LIMIT, name: str | None = None
) -> Image.Image:
    """A mask as grey, white = draw anew: where the picture is transparent if it has any transparency (the convention of
    the OpenAI API), else where it is white (that of diffusers). It must be still. ``name``: as for :func:`read_image`.

    Raises:
        DataError: as :func:`read_image`.
    """
    name = name or _name(source)
    picture = _opened(source, limit, name, still=True)
    if picture.mode in CLEAR or "transparency" in picture.info:
        alpha = picture.convert("RGBA").getchannel("A")
        if np.asarray(alpha).min() < 255:
            return ImageChops.invert(alpha)
    return _rgb(picture, name).convert("L")


def _name(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else "the picture"


def frames_of(picture: Image.Image) -> int:
    """Of an animation, or of a file of several pages, how many; 1 for a photograph that brings others along (MPO)."""
    return 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)


def _opened(source: str | Path | BinaryIO | Image.Image, limit: int, name: str, still: bool) -> Image.Image:
    """Decoded and upright, in its own mode."""
    try:
        with _SILENCE:
            if isinstance(source, Image.Image):
                return ImageOps.exif_transpose(source)
            with Image.open(source, formats=FORMATS) as picture:
                if picture.width * picture.height > limit:
                    raise DataError(
                        f"{name} has {picture.width} x {picture.height} pixels, more than the limit of {limit}"
                    )
                if still and (frames := frames_of(picture)) > 1:
                    raise DataError(f"{name} has {frames} frames; give a picture of one")
                picture.load()
                return ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError as e:
        raise DataError(f"{name} claims more pixels than the limit of {limit}: {e}") from e
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, LookupError, TypeError, struct.error) as e:
        raise DataError(f"{name} is not a picture that can be read ({e}); remove or replace it") from e


def _rgb(picture: Image.Image, name: str) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a pixel
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"{name} has grey values outside 16 bits ({values.min()} to {values.max()}); convert it to 8 bits"
            )
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise DataError(f"{name} holds floating-point values of unknown range; convert it to 8 bits")
    if picture.mode in CLEAR or "transparency" in picture.info:
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        ground.alpha_composite(picture.convert("RGBA"))
        return ground.convert("RGB")
    return picture.convert("RGB")


def centre_crop(picture: Image.Image, size: int) -> Image.Image:
    """The middle square at ``size`` x ``size``, as ADM prepares ImageNet (guided diffusion, ``center_crop_arr``):
    halve with a box filter while the short side is at least twice ``size``, scale it to ``size`` (bicubic), cut the
    middle."""
    short = min(picture.size)
    if max(picture.size) > 8 * short:  # a thin strip: what is cut anyway is not scaled up first
        picture = _middle(picture, min(picture.width, 8 * short), min(picture.height, 8 * short))
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    return _middle(picture, size, size)


def _middle(picture: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
