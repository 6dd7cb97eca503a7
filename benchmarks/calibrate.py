"""What the scores of compare.py make of known damage: a scale to read them by.

    python benchmarks/calibrate.py [--n 4000] [--features efficientnet-lite0] [--dimensions 64] [--out runs/calibrate]

Contestants are the real pictures of the captions themselves: as they are, noisy, blurred, with wrong cells, in the
wrong skin tone, under the wrong caption, or drawn anew from the same distribution.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from judge import NETS, Bench, bench, judge
from PIL import Image, ImageFilter
from samples import Pictures, Wanted, every_base, known

from parvis.data.emoji import load_emoji
from parvis.files import write_bytes
from parvis.output import format_table

CELL = 8
"""Pixels per side of one token of the bundled models."""


def noisy(images: Pictures, spread: float) -> Pictures:
    noise = np.random.default_rng(0).normal(0, spread, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def blurred(images: Pictures, radius: float) -> Pictures:
    how = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(image).filter(how)) for image in images])


def wrong_cells(images: Pictures, count: int) -> Pictures:
    """``count`` cells of each picture, at random, replaced by other cells of the same picture."""
    rng, out = np.random.default_rng(0), images.copy()
    side = images.shape[1] // CELL
    for image, source in zip(out, images, strict=True):
        for to_y, to_x, y, x in rng.integers(0, side, (count, 4)) * CELL:
            image[to_y : to_y + CELL, to_x : to_x + CELL] = source[y : y + CELL, x : x + CELL]
    return out


def swapped(images: Pictures, share: float) -> Pictures:
    """``share`` of the pictures exchanged among themselves: right pictures, wrong captions."""
    rng, out = np.random.default_rng(0), images.copy()
    rows = np.flatnonzero(rng.random(len(images)) < share)
    out[rows] = images[np.roll(rows, 1)]
    return out


def other_tone(at: Bench, wanted: Sequence[Wanted]) -> Pictures:
    """The next variant of the same drawing, where there is one."""
    variants: dict[str, list[int]] = {}
    for i, record in enumerate(at.data.records):
        variants.setdefault(record.base, []).append(i)
    rows = [variants[at.data.records[w.index].base] for w in wanted]
    return at.data.images[[v[(v.index(w.index) + 1) % len(v)] for v, w in zip(rows, wanted, strict=True)]]


def contestants(at: Bench, given: argparse.Namespace) -> dict[str, Callable[[Sequence[Wanted]], Pictures]]:
    def own(wanted: Sequence[Wanted]) -> Pictures:
        return at.data.images[[w.index for w in wanted]]

    def anew(wanted: Sequence[Wanted]) -> Pictures:
        indices = known(at.data, "train", [frozenset(at.data.words.vocabulary)])
        return own(every_base(at.data, indices, len(wanted), given.seed + 1))

    return {
        "the real pictures": own,
        "noise of 1 in 255": lambda wanted: noisy(own(wanted), 1),
        "noise of 5 in 255": lambda wanted: noisy(own(wanted), 5),
        "blur of 0.5 pixels": lambda wanted: blurred(own(wanted), 0.5),
        "blur of 1 pixel": lambda wanted: blurred(own(wanted), 1),
        "1 wrong cell of 64": lambda wanted: wrong_cells(own(wanted), 1),
        "4 wrong cells of 64": lambda wanted: wrong_cells(own(wanted), 4),
        "another tone": lambda wanted: other_tone(at, wanted),
        "half under wrong captions": lambda wanted: swapped(own(wanted), 0.5),
        "real pictures drawn anew": anew,
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=4000, help="pictures (%(default)s)")
    parser.add_argument("--features", choices=sorted(NETS), default="efficientnet-lite0", help="(%(default)s)")
    parser.add_argument("--dimensions", type=int, default=64, help="of the features (%(default)s)")
    parser.add_argument("--projection", choices=["pca", "random"], default="pca", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="other captions (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/calibrate"), help="folder for the JSON (%(default)s)")
    given = parser.parse_args(argv, argparse.Namespace(held=0))
    data = load_emoji(64)
    at = bench(data, [frozenset(data.words.vocabulary)], given)
    rows, found = [], {}
    for name, make in contestants(at, given).items():
        one = judge(at, ("seen",), make)
        found[name] = one.facts()
        scores = one.cells(("seen",))
        rows.append([name, scores[0], *scores[2:], f"{one.nearest['seen']['rmse']['mean']:.3f}"])
        print(f"{name}: {one.frechet.distance:.4g}", flush=True)
    print("\n" + format_table(["pictures", "Frechet", "exact", "base", "rmse"], rows), at.explain(), sep="\n\n")
    write_bytes(given.out / "calibrate.json", json.dumps({**at.facts(), "found": found}, indent=1).encode())


if __name__ == "__main__":
    main()
