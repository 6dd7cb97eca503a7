"""Every system, one file per paper. Plain dicts of functions, by explicit imports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from parvis.system import System
from parvis.systems import arpg, captioned, emoji, llamagen, lpd, mar, maskgit, nar, par, randar, small, var, xar

SYSTEMS: dict[str, Callable[..., System]] = {
    "arpg": arpg.arpg,
    "captioned": captioned.captioned,
    "emoji": emoji.emoji,
    "llamagen": llamagen.llamagen,
    "llamagen-t2i": llamagen.text,
    "lpd": lpd.lpd,
    "mar": mar.mar,
    "maskgit": maskgit.maskgit,
    "nar": nar.nar,
    "nar-t2i": nar.text,
    "par": par.par,
    "randar": randar.randar,
    "small": small.small,
    "var": var.var,
    "xar": xar.xar,
}
"""What a model folder's ``config.json`` may name; called with its ``arguments``."""

PUBLISHED: dict[str, partial[System]] = {
    **{
        f"llamagen-{size}-{side}": partial(llamagen.llamagen, size, side)
        for size in ("b", "l", "xl", "xxl", "3b")
        for side in (256, 384)
    },
    **{f"arpg-{size}-256": partial(arpg.arpg, size) for size in ("l", "xl", "xxl")},
    **{f"llamagen-t2i-xl-{side}": partial(llamagen.text, "xl", side) for side in (256, 512)},
    **{f"lpd-{size}-256": partial(lpd.lpd, size, 256) for size in ("l", "xl", "xxl")},
    **{f"lpd-{size}-512": partial(lpd.lpd, size, 512) for size in ("l", "xl")},
    **{f"mar-{size}-256": partial(mar.mar, size) for size in ("b", "l", "h")},
    **{f"nar-{size}-256": partial(nar.nar, size) for size in nar.SIZES},
    **{f"nar-t2i-xl-{side}": partial(nar.text, "xl", side) for side in (256, 512)},
    **{
        f"par-{size}-384-{tokens}x": partial(par.par, size, 384, tokens)
        for size in ("l", "xl", "xxl", "3b")
        for tokens in (4, 16)
    },
    **{f"randar-{size}-256": partial(randar.randar, size) for size in ("l", "xl", "xxl")},
    **{f"var-{size}-256": partial(var.var, size, 256) for size in ("d16", "d20", "d24", "d30")},
    "var-d36-512": partial(var.var, "d36", 512),
    **{f"xar-{size}-256": partial(xar.xar, size) for size in ("b", "l", "h")},
}
"""The published systems by name, built without weights."""

__all__ = ["PUBLISHED", "SYSTEMS"]
