"""Small models of one's own pictures and captions: the words of the captions are the vocabulary.

    parvis tokenizer train small --data PICTURES -o runs/tok
    parvis encode PICTURES --tokenizer runs/tok/model -o runs/codes
    parvis train lpd-small-text --data runs/codes -o runs/lpd
    parvis generate "two red apples" --model runs/lpd/model

Captions are the ``text`` of ``metadata.jsonl`` or ``metadata.csv`` beside the pictures, or the ``.txt`` of WebDataset
shards. No result is claimed: it depends on the data. What captions of a few words reach, on drawings: the bundled
emoji models.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from parvis.systems.captioned import KINDS, captioned
from parvis.tokenizer.folder import Known, arguments_of
from parvis.weights.config import FolderConfig
from recipes.captions import texts_of
from recipes.common import Cut, codes_of, rebuilt, run
from recipes.families import check_kind, initialise, objective
from recipes.small import BATCH, DROP, STEPS, settings

ABOUT = {
    "lpd": "LPD from captions: any order, groups that grow; words from the data.",
    "raster": "LlamaGen from captions: raster order, the baseline; words from the data.",
}


def of_kind(kind: str) -> Callable[..., None]:
    """The recipe of one family: 6 blocks of width 256, AdamW, averaged weights."""

    def recipe(
        data: Path,
        out: Path,
        *,
        tokenizer: Path | None = None,
        resolution: int | None = None,
        steps: int = STEPS,
        batch: int = BATCH,
        lr: float = 1e-3,
        depth: int = 6,
        width: int = 256,
        device: str = "cpu",
        skip_bad: bool = False,
    ) -> None:
        cut = Cut(resolution, flip=False, skip_bad=skip_bad)  # captions speak of left and right
        cache, codec, _ = codes_of(data, tokenizer, out, cut, device)
        check_kind(kind, codec)
        assert isinstance(codec, Known)
        texts = texts_of(cache)
        print(texts.told())
        arguments: dict[str, Any] = dict(
            kind=kind, resolution=cache.manifest.resolution, depth=depth, width=width, heads=max(1, width // 64),
            words=texts.words.size, slots=texts.words.slots, tokenizer=arguments_of(codec),
        )  # fmt: skip
        torch.manual_seed(0)
        system = rebuilt(captioned(**arguments), codec)
        initialise(kind, system.models["main"])
        identity = {"codes": cache.identity, "system": system.name}
        config = settings(steps, batch, lr, out, device, identity)
        run(system, FolderConfig("captioned", arguments), cache, objective(kind, system), config, DROP, texts)

    recipe.__doc__ = ABOUT[kind]
    return recipe


TEXTS = {f"{kind}-small-text": of_kind(kind) for kind in KINDS}
