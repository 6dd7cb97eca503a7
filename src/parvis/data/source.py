"""One door to pictures of any kind: a folder, Hugging Face's ``imagefolder``, WebDataset shards."""

from __future__ import annotations

from pathlib import Path

from parvis.data.folder import open_folder
from parvis.data.images import ImageSet
from parvis.data.shards import open_shards
from parvis.errors import DataError


def open_data(path: Path | str, resolution: int, split: str = "train") -> ImageSet:
    """The pictures at ``path``, recognised by what lies there; each is decoded when it is asked for.

    * a folder of pictures: sub-folders are classes; ``metadata.jsonl`` or ``.csv`` has captions and labels;
    * the same with ``train/``, ``test/``, ``validation/`` as its only sub-folders: one ``split`` of it;
    * ``.tar`` shards: one file, a brace pattern (``data-{000..012}.tar``), or a folder of them.

    :raises DataError: nothing is there, or nothing that is understood; the message says what was looked for
    """
    place = Path(path)
    if str(path).endswith(".tar") or "{" in str(path):
        return open_shards(path, resolution)
    if place.is_dir():
        if any(place.glob("*.tar")):
            return open_shards(place, resolution)
        if (place / "manifest.json").is_file():
            raise DataError(f"{place} is a code cache, not pictures; give the pictures it was made of")
        if (place / "config.json").is_file():
            raise DataError(f"{place} is a model folder, not pictures")
        return open_folder(place, resolution, split)
    if not place.exists():
        raise DataError(f"{place} is not there; give a folder of pictures, or .tar shards")
    if place.suffix in (".tgz", ".gz", ".zip", ".zst", ".bz2", ".xz"):
        raise DataError(f"{place} is a compressed archive; unpack it into a folder, or make plain .tar shards of it")
    raise DataError(f"{place} is one file; give the folder it lies in, or .tar shards")
