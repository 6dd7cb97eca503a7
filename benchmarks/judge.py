"""What the pictures of one contestant are worth: distance to the real ones, and whose picture each is nearest to.

Scores: ``exact``, the nearest real picture is the caption's own; ``base``, it is a variant of the same drawing;
``base_in_5``, one of the five nearest is; ``rmse``, distance to the caption's own picture (16 x 16 pixels, 0 to 1).
Splits: ``seen`` (captions trained on, each base equally often), ``combination`` (drawings in a skin tone that they were
not trained on) and ``base`` (drawings held out in all variants), see ``parvis/data/split.py``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from samples import Pictures, Wanted, each, every_base, hash_of, known, standard_error
from torch import Tensor

from parvis.data.emoji import EmojiSet, load_emoji
from parvis.errors import UsageError
from parvis.evaluate.features import FeatureNet, efficientnet_lite0, features_of, thumbnails
from parvis.evaluate.frechet import Frechet, Projection, compare, floor, frechet, moments, project
from parvis.evaluate.nearest import nearest
from parvis.pipeline import Pipeline

NETS: dict[str, Callable[[], FeatureNet]] = {"efficientnet-lite0": efficientnet_lite0, "thumbnails": thumbnails}
SPLITS = ("seen", "combination", "base")
SCORES = ("exact", "base", "base_in_5", "rmse")


@dataclass(frozen=True, eq=False)
class Bench:
    """What all contestants are measured against."""

    data: EmojiSet
    captions: dict[str, list[Wanted]]
    left_out: dict[str, int]
    """Records of each split with a word that a model does not know."""
    net: FeatureNet
    projection: Projection
    real: Tensor
    """Features [n, D] of the real picture of every seen caption, in their order."""
    distinct: Tensor
    """One row of each base: no picture twice, as the floor needs it."""
    attainable: Tensor | None = None
    """Projected features of the same real pictures through the tokenizer: what a model with it can reach at best."""

    def bases(self, split: str) -> list[str]:
        return [self.data.records[w.index].base for w in self.captions[split]]

    def clusters(self) -> Tensor:
        """A number for each seen caption, the same for captions of one base: long [n]."""
        numbers = {base: i for i, base in enumerate(sorted(set(self.bases("seen"))))}
        return torch.tensor([numbers[base] for base in self.bases("seen")])

    def explain(self) -> str:
        least = floor(self.projection(self.distinct))
        counts = "; ".join(
            f"{split} {len(w)} pictures of {len({v.index for v in w})} captions, {len(set(self.bases(split)))} bases"
            for split, w in self.captions.items()
        )
        return (
            f"Frechet: {len(self.real)} pictures of seen captions against the real pictures of the same captions, "
            f"{self.projection.dimensions} dimensions ({self.projection.kind}, {self.projection.explained:.0%} of the "
            f"variance) of {self.net.name}.\nTwo halves of {least.count} real pictures (different drawings): "
            f"{least.distance:.4g} ({least.lowest:.4g} to {least.highest:.4g}).\n{counts}"
        )

    def facts(self) -> dict[str, Any]:
        images = hashlib.sha256(self.data.images.tobytes()).hexdigest()
        return {
            "data": {"name": "emoji", "resolution": self.data.resolution, "images_sha256": images},
            "captions": {
                split: {
                    "pictures": len(wanted),
                    "captions": len({w.index for w in wanted}),
                    "bases": len(set(self.bases(split))),
                    "left_out_for_unknown_words": self.left_out[split],
                    "sha256": hash_of([asdict(w) for w in wanted]),
                }
                for split, wanted in self.captions.items()
            },
            "features": {
                "net": self.net.name,
                "sha256": self.net.sha256,
                "dimensions": self.projection.dimensions,
                "projection": self.projection.kind,
                "variance_kept": self.projection.explained,
            },
        }


@dataclass(frozen=True, eq=False)
class Judged:
    """One contestant: ``features`` are those of its seen pictures, projected; ``nearest`` has an entry per split.

    ``beyond`` is the distance from ``Bench.attainable``: what is left when the tokenizer is not to blame.
    """

    frechet: Frechet
    beyond: float | None
    nearest: dict[str, dict[str, Any]]
    features: Tensor
    images: dict[str, Pictures]

    def cells(self, splits: Sequence[str]) -> list[str | None]:
        """Both distances, then ``exact`` and ``base`` of each split."""
        cells = [f"{self.frechet.distance:.4g}", None if self.beyond is None else f"{self.beyond:.4g}"]
        for split in splits:
            one = self.nearest.get(split)
            cells += [None if one is None else f"{one[score]['mean']:.3f}" for score in SCORES[:2]]
        return cells

    def rows(self, label: str) -> list[list[object]]:
        """A row of all scores for every split."""
        return [
            [split, label, one["pictures"], *(f"{one[s]['mean']:.3f} +-{one[s]['standard_error']:.3f}" for s in SCORES)]
            for split, one in self.nearest.items()
        ]

    def facts(self) -> dict[str, Any]:
        return {"frechet": asdict(self.frechet), "frechet_beyond_tokenizer": self.beyond, "nearest": self.nearest}


def captions(
    data: EmojiSet, vocabularies: Sequence[frozenset[str]], n: int, held: int, salt: int
) -> tuple[dict[str, list[Wanted]], dict[str, int]]:
    """What is drawn of each split, and how many of its records no model is asked for."""
    indices = {
        split: known(data, name, vocabularies) for split, name in zip(SPLITS, ("train", *SPLITS[1:]), strict=True)
    }
    if not indices["seen"] or n < 1:
        raise UsageError(f"{n} pictures of {len(indices['seen'])} training captions that the models know; need some")
    wanted = {"seen": every_base(data, indices["seen"], n, salt)}
    wanted |= {split: each(data, indices[split], held, salt) for split in SPLITS[1:]}
    sizes = [len(data.select(name)) for name in ("train", *SPLITS[1:])]
    return wanted, {split: size - len(indices[split]) for split, size in zip(SPLITS, sizes, strict=True)}


def common_ground(pipelines: Sequence[Pipeline]) -> tuple[EmojiSet, list[frozenset[str]]]:
    """The data set at the models' own resolution, and the words that each of them knows."""
    vocabularies = [frozenset(p.words.vocabulary) for p in pipelines if p.words is not None]
    if len(vocabularies) != len(pipelines):
        raise UsageError("only models that draw from captions can be compared here")
    sides = {p.system.grid.width * p.system.tokenizer.factor for p in pipelines}
    if len(sides) != 1:
        raise UsageError(f"models of {sorted(sides)} pixels do not compare; give models of one resolution")
    return load_emoji(sides.pop()), vocabularies


def bench(data: EmojiSet, vocabularies: Sequence[frozenset[str]], given: argparse.Namespace) -> Bench:
    """The real side of everything: captions and features of their real pictures."""
    wanted, left_out = captions(data, vocabularies, given.n, given.held, given.seed)
    net = NETS[given.features]()
    rows = [w.index for w in wanted["seen"]]
    unique = sorted(set(rows))
    place = {index: i for i, index in enumerate(unique)}
    real = features_of(data.images[unique], net)[[place[i] for i in rows]]
    first: dict[str, int] = {}
    for i, index in enumerate(rows):
        first.setdefault(data.records[index].base, i)
    projection = project(real, given.dimensions, given.projection)
    return Bench(data, wanted, left_out, net, projection, real, real[list(first.values())])


def judge(at: Bench, splits: Sequence[str], make: Callable[[Sequence[Wanted]], Pictures]) -> Judged:
    """Measure what ``make`` draws for the captions of ``splits`` (``seen`` among them)."""
    images = {split: make(at.captions[split]) for split in splits if at.captions[split]}
    features = features_of(images["seen"], at.net)
    found = compare(at.real, features, at.projection, at.net.name, at.distinct)
    projected = at.projection(features)
    beyond = None if at.attainable is None else frechet(moments(at.attainable), moments(projected))
    judged = {split: obeyed(at, split, pictures) for split, pictures in images.items()}
    return Judged(found, beyond, judged, projected, images)


def obeyed(at: Bench, split: str, images: Pictures) -> dict[str, Any]:
    """Shares of pictures nearest to what their caption names, with standard errors; for the drawing, by category."""
    wanted, bases = at.captions[split], at.bases(split)
    found = nearest(images, [w.index for w in wanted], at.data.images, [r.base for r in at.data.records])
    out: dict[str, Any] = {"pictures": len(wanted)}
    for score in SCORES:
        values = getattr(found, score).double()
        out[score] = {"mean": float(values.mean()), "standard_error": standard_error(values, bases)}
    categories = [at.data.records[w.index].category for w in wanted]
    hits = dict[str, list[bool]]()
    for category, hit in zip(categories, found.base.tolist(), strict=True):
        hits.setdefault(category, []).append(hit)
    out["base_by_category"] = {c: {"pictures": len(h), "mean": sum(h) / len(h)} for c, h in sorted(hits.items())}
    return out
