"""The models that come with Parvis, by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from parvis.errors import UnknownName, WeightsError
from parvis.systems import PUBLISHED
from parvis.weights.folder import load_config

BUNDLED = Path(__file__).parent.parent / "bundled"
ALIAS = "emoji"
"""Stands for the best of the bundled models, whatever their sizes."""


def bundled() -> dict[str, Path]:
    """Name -> model folder of everything in ``parvis/bundled``, sorted."""
    return {config.parent.name: config.parent for config in sorted(BUNDLED.glob("*/config.json"))}


def best() -> str | None:
    """The bundled model that ``emoji`` stands for: the LPD one of the largest pictures."""
    sizes = {}
    for name, folder in bundled().items():
        config = load_config(folder)
        if config.system == ALIAS and config.arguments.get("kind", "lpd") == "lpd":
            sizes[name] = int(str(config.arguments.get("resolution", 0)))
    return max(sizes, key=lambda name: sizes[name], default=None)


def find(name_or_folder: str | Path, also: Iterable[str] = ()) -> Path:
    """The model folder that is meant: a bundled name, ``emoji`` for the :func:`best`, a name with ``hf:`` (fetched if
    it is not here, see ``weights/hub.py``), else a folder (``./NAME`` for one that is called like a model).

    Raises :class:`UnknownName` if it is none of them, suggesting bundled names and those in ``also``; the folder is not
    opened.
    """
    models = bundled()
    text = os.fspath(name_or_folder)
    if text.startswith("hf:"):
        from parvis.weights.hub import fetch

        return fetch(text)
    if isinstance(name_or_folder, str) and text in models:
        return models[text]
    if name_or_folder == ALIAS and (name := best()) is not None:
        return models[name]
    if Path(text).exists() or os.sep in text:
        return Path(text)
    raise UnknownName("model", text, [*models, *([ALIAS] if models else []), *also])


def locate(name: str | Path) -> Path:
    """As :func:`find`, for a model that is to draw.

    Raises:
        UnknownName: there is none of that name. WeightsError: the name is a published system's.
    """
    if isinstance(name, str) and name in PUBLISHED and not Path(name).exists():
        raise WeightsError(
            f"{name} is a published system, whose weights do not come with Parvis; give a model folder (`parvis "
            "convert` makes one of the authors' checkpoint), or time it with random weights (`parvis bench "
            "--random-weights`)"
        )
    return find(name, also=PUBLISHED)
