"""The models that come with Parvis, by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from parvis.errors import UnknownName

BUNDLED = Path(__file__).parent.parent / "bundled"


def bundled() -> dict[str, Path]:
    """Name -> model folder of everything in ``parvis/bundled``, sorted."""
    return {config.parent.name: config.parent for config in sorted(BUNDLED.glob("*/config.json"))}


def find(name_or_folder: str | Path, also: Iterable[str] = ()) -> Path:
    """The model folder that is meant: a bundled name, else a folder (``./NAME`` for one that is called like a model).

    Raises :class:`UnknownName` if it is neither, suggesting bundled names and those in ``also``; the folder is not
    opened.
    """
    models = bundled()
    text = os.fspath(name_or_folder)
    if isinstance(name_or_folder, str) and text in models:
        return models[text]
    if Path(text).exists() or os.sep in text:
        return Path(text)
    raise UnknownName("model", text, [*models, *also])
