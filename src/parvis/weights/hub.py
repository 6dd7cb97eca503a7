"""Models from the Hugging Face Hub, by ``hf:`` names: fetched once, converted once, then read from this machine.

    hf:lpd-l-256                    a published system, from where its authors keep it (weights/public.py)
    hf:mit-han-lab/lpd_l_256        a repository: of authors whose weights are known here, or a Parvis folder
    hf:someone/model@v1.2           at a tag, branch or commit

Needs the extra ``hub``. Converted models lie in ``models`` of the cache folder ($PARVIS_CACHE or ~/.cache/parvis) and
are used from there without asking the network again; to fetch one anew, delete its folder.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from parvis.errors import UsageError, WeightsError
from parvis.weights.checkpoint import SUFFIXES
from parvis.weights.convert import convert
from parvis.weights.folder import load_config
from parvis.weights.public import BY_HAND, PUBLIC, PublicWeights, public

PREFIX = "hf:"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+|[\w.-]+)(@(?P<revision>[\w./-]+))?")


def cache_folder() -> Path:
    """$PARVIS_CACHE or ~/.cache/parvis."""
    return Path(os.environ.get("PARVIS_CACHE") or Path.home() / ".cache" / "parvis").expanduser()


def fetch(name: str) -> Path:
    """The model folder of an ``hf:`` name, fetched and converted if it is not here yet.

    Raises:
        UsageError: the name is none, is unclear, or the extra is not installed. WeightsError: it cannot be fetched, or
        what was fetched does not fit; then nothing is kept but the download.
    """
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if found is None:
        raise UsageError(
            f"{name!r} is no model on the Hub; give hf:OWNER/REPOSITORY, hf:OWNER/REPOSITORY@REVISION or hf:SYSTEM"
        )
    repo, revision = found["repo"], found["revision"]
    entry = _entry(repo)
    if entry is None:
        return _parvis_folder(repo, revision)
    parts = (entry.repo, entry.system, *((revision,) if revision else ()))
    folder = cache_folder() / "models" / "--".join(parts).replace("/", "--")
    if (folder / "config.json").is_file():
        return folder
    for source, named in ((entry.repo, entry.file), entry.tokenizer):
        if source in BY_HAND:
            raise UsageError(
                f"{name}: its {named} is not on the Hub ({BY_HAND[source]}); download its weights and `parvis convert` "
                f"them, with --tokenizer {entry.tokenizer[1]}"
            )
    file = _download(entry.repo, entry.file or _only_checkpoint(entry.repo, revision), revision)
    tokenizer = _download(*entry.tokenizer, None)
    about = {"repository": f"{entry.repo}@{revision or 'main'}", "licence of the authors' code": entry.licence}
    convert(file, entry.system, folder, tokenizer=tokenizer, about=about)
    return folder


def cached_tokenizer(system: str) -> Path | None:
    """The tokenizer's checkpoint of a published system if the Hub's cache holds it already; never asks the network."""
    entry = public(system)
    if entry is None:
        return None
    try:
        library = import_module("huggingface_hub")
    except ImportError:
        return None
    repo, file = entry.tokenizer
    try:
        return Path(library.hf_hub_download(repo, file, local_files_only=True))
    except Exception:  # whatever the library says, it is not here
        return None


def _entry(repo: str) -> PublicWeights | None:
    """The row of the table that is meant; None for a repository that is not in it."""
    if "/" not in repo:
        entry = public(repo)
        if entry is None:
            names = ", ".join(entry.system for entry in PUBLIC)
            raise UsageError(f"no public weights are known of {repo!r}; known: {names}")
        return entry
    entries = [entry for entry in PUBLIC if entry.repo == repo]
    if len(entries) > 1:
        names = ", ".join(f"{PREFIX}{entry.system}" for entry in entries)
        raise UsageError(f"{repo} holds several models; say which: {names}")
    return entries[0] if entries else None


def _parvis_folder(repo: str, revision: str | None) -> Path:
    """A model folder that somebody put on the Hub as it is; from the Hub's cache where that holds all of it.

    Its config is fetched and read first, so that nothing large comes from a repository that is no model folder.
    """
    library = _library()
    try:
        place = Path(library.snapshot_download(repo, revision=revision, local_files_only=True))
    except Exception:  # whatever the library says, it is not here
        place = None
    if place is not None and _whole(place):
        return place
    config = _download(repo, "config.json", revision)
    try:
        names = ["config.json", *load_config(config.parent).files]
    except WeightsError as error:
        raise WeightsError(
            f"{PREFIX}{repo}: no Parvis model folder, and not among the public weights that are known (`parvis list "
            "--weights`); download the checkpoint and use `parvis convert`"
        ) from error
    try:
        place = Path(library.snapshot_download(repo, revision=revision, allow_patterns=names))
    except Exception as error:  # the library's own, the network's, the disk's
        raise _failed(repo, error) from error
    if not _whole(place):
        raise WeightsError(f"{PREFIX}{repo}: some of the files that its config.json lists are not there; ask its owner")
    return place


def _whole(folder: Path) -> bool:
    """Whether everything that config.json lists is there in its full length. The sums are checked on loading."""
    try:
        config = load_config(folder)
    except WeightsError:
        return False
    places = {folder / name: record.bytes for name, record in config.files.items()}
    return all(place.is_file() and place.stat().st_size == size for place, size in places.items())


def _only_checkpoint(repo: str, revision: str | None) -> str:
    """The name of the one checkpoint of a repository."""
    try:
        files = [str(file) for file in _library().list_repo_files(repo, revision=revision)]
    except UsageError:
        raise
    except Exception as error:
        raise _failed(repo, error) from error
    found = [file for file in files if file.endswith(SUFFIXES)]
    if len(found) != 1:
        raise WeightsError(
            f"{PREFIX}{repo}: {len(found)} checkpoints where one was expected ({', '.join(found[:4])}); download the "
            "right one and use `parvis convert`"
        )
    return found[0]


def _download(repo: str, file: str, revision: str | None) -> Path:
    try:
        return Path(_library().hf_hub_download(repo, file, revision=revision))
    except UsageError:
        raise
    except Exception as error:  # the library's own, the network's, the disk's
        raise _failed(f"{repo}/{file}", error) from error


def _library() -> Any:
    try:
        return import_module("huggingface_hub")
    except ImportError as error:
        raise UsageError(
            "names with hf: need the extra: pip install 'parvis[hub]'; or download and `parvis convert`"
        ) from error


def _failed(what: str, error: Exception) -> WeightsError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return WeightsError(
        f"{PREFIX}{what}: cannot be fetched ({said}); is the name right, the network there? "
        "What was fetched is kept: try again"
    )
