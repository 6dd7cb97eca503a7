"""The emoji data set: 3780 captioned drawings at 64 px, most of them at 128 px too, from two published packages.

:func:`fetch_emoji` downloads and prepares it once; :func:`load_emoji` reads it. Noto Emoji by Google, Apache-2.0.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from parvis.data.captions import TONES, Words, words_of
from parvis.data.fetch import EMOJI, FONT, Progress, cache_root, deb_member, obtain
from parvis.data.noto import FONT_FILE, read_package, render
from parvis.data.split import SPLITS, TRAIN, Item, base_weights, split, twin_groups
from parvis.errors import DataError, UsageError
from parvis.files import write_bytes

FORMAT = 1
RESOLUTIONS = (64, 128)
_TONE_OF = {f"1F3F{c}": tone for c, tone in zip("BCDEF", TONES, strict=True)}
_PEOPLE = {"1F468": "man", "1F469": "woman", "1F9D1": "person", "1FAF1": "hand", "1FAF2": "hand"}
_NOT_ROLE = {*_TONE_OF, "1F468", "1F469", "1F9D1", "200D", "FE0F", "2640", "2642", "27A1"}


@dataclass(frozen=True)
class Record:
    """One drawing."""

    file: str
    """``1f469-1f3fe-200d-1f680.png``: its code points."""
    name: str
    caption: tuple[str, ...]
    """Skin tone, name, then the words of the sub-category that the name lacks."""
    alternates: tuple[tuple[str, ...], ...]
    """Other captions of the same drawing: without the sub-category, tone last, short names."""
    category: str
    subcategory: str
    base: str
    """Code points of the drawing without skin tones."""
    role: str
    """Code points without skin tones and gender, for people; else empty."""
    tones: tuple[str, ...]
    group: int
    """Drawings of one number are twins (also mirrored) and lie in one split."""
    split: str
    """``train``, ``combination`` (a role whose other skin tones are trained on) or ``base`` (a drawing held out in
    all variants)."""

    @property
    def captions(self) -> tuple[tuple[str, ...], ...]:
        return (self.caption, *self.alternates)


@dataclass(frozen=True, eq=False)
class EmojiSet:
    """Pictures with their records, in one order."""

    images: npt.NDArray[np.uint8]
    """[n, S, S, 3] on white."""
    records: tuple[Record, ...]
    words: Words
    """The vocabulary of all captions of the training split."""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def resolution(self) -> int:
        return int(self.images.shape[1])

    def select(self, wanted: str | Callable[[Record], bool]) -> EmojiSet:
        """The records of one split (``"train"``, ``"combination"``, ``"base"``), or those for which a function says
        True."""
        if isinstance(wanted, str) and wanted not in SPLITS:
            raise UsageError(f"split {wanted!r} is unknown; the splits are {', '.join(SPLITS)}")
        test = wanted if callable(wanted) else (lambda r: r.split == wanted)
        keep = [i for i, r in enumerate(self.records) if test(r)]
        return EmojiSet(self.images[keep], tuple(self.records[i] for i in keep), self.words)

    def pixels(self, indices: Sequence[int] | Tensor | slice = slice(None)) -> Tensor:
        """float32 [n, 3, S, S] in [-1, 1]."""
        chosen = indices.tolist() if isinstance(indices, Tensor) else indices
        return (
            torch.from_numpy(np.ascontiguousarray(self.images[chosen])).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        )

    def caption_table(self) -> tuple[Tensor, Tensor]:
        """(ids [n, A, slots], count [n]): all captions of every record, see :meth:`Words.table`; row 0 is
        ``caption``."""
        return self.words.table([r.captions for r in self.records])

    def weights(self) -> Tensor:
        """Probability of each record when a base is drawn first, then a variant: float64 [n]."""
        return base_weights([r.base for r in self.records])

    def summary(self) -> str:
        """Counts per split, for people to read."""
        lines = []
        for name in SPLITS:
            part = [r for r in self.records if r.split == name]
            lines.append(f"{name:12} {len(part):5} pictures of {len({r.base for r in part}):4} bases")
        twins = sum(c for c in Counter(r.group for r in self.records).values() if c > 1)
        lines.append(f"{len(self.words.vocabulary)} words; {twins} pictures have a twin")
        return "\n".join(lines)


def load_emoji(resolution: int = 64, root: Path | str | None = None) -> EmojiSet:
    """The prepared set at 64 or 128 px. At 128 px a few drawings that the font lacks are missing.

    :raises DataError: it was not fetched, or is damaged
    """
    if resolution not in RESOLUTIONS:
        raise UsageError(f"emoji come at 64 and 128 pixels; {resolution} was asked for")
    folder = cache_root(root) / "emoji"
    try:
        saved = json.loads((folder / "records.json").read_text(encoding="utf-8"))
        with (folder / f"emoji-{resolution}.npz").open("rb") as file, np.load(file, allow_pickle=False) as z:
            images, files = z["images"], [str(f) for f in z["files"]]
    except FileNotFoundError as e:
        raise DataError(
            f"the emoji data set at {resolution} px is not in {folder}; run `parvis data fetch emoji`"
        ) from e
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as e:
        raise DataError(
            f"the emoji data set in {folder} is damaged ({e}); delete that folder and run `parvis data fetch emoji`"
        ) from e
    if saved.get("format") != FORMAT:
        raise DataError(
            f"{folder} was prepared by another version of Parvis; delete it and run `parvis data fetch emoji`"
        )
    records = {r["file"]: _record(r) for r in saved["records"]}
    return EmojiSet(images, tuple(records[f] for f in files), Words(tuple(saved["vocabulary"])))


def fetch_emoji(
    root: Path | str | None = None,
    progress: Progress = print,
    given: Path | str | None = None,
    resolutions: Sequence[int] = RESOLUTIONS,
    seed: int = 0,
) -> Path:
    """Downloads the two packages (npm and apt-get; 74 and 10 MB), checks them and writes the set; returns its folder.

    ``given`` is a folder that already holds the two files, for machines without a network. The font is needed for 128
    px alone. What is already prepared is left as it is. Nothing of the packages is executed.

    :raises DataError: a client is missing, a download fails or is not the recorded file; the message says how to get
        it by hand
    """
    folder = cache_root(root) / "emoji"
    missing = [r for r in resolutions if not (folder / f"emoji-{r}.npz").is_file()]
    if not missing and _format(folder) == FORMAT:
        progress(f"already prepared in {folder}")
        return folder
    source = Path(given) if given is not None else None
    package = obtain(EMOJI, folder / "downloads", progress, source)
    progress("reading 64 px drawings")
    entries, pictures = read_package(package)
    records, images = prepare(entries, pictures, seed)
    words = Words.of(c for r in records if r.split == TRAIN for c in r.captions)
    _save_images(folder / "emoji-64.npz", [r.file for r in records], images)
    saved = {
        "format": FORMAT,
        "seed": seed,
        "packages": [
            {"name": p.name, "version": p.version, "sha256": p.sha256, "licence": p.licence} for p in (EMOJI, FONT)
        ],
        "vocabulary": words.vocabulary,
        "records": [asdict(r) for r in records],
    }
    text = json.dumps(saved, ensure_ascii=False, indent=1).encode()
    write_bytes(folder / "records.json", text)
    if 128 in resolutions:
        font = obtain(FONT, folder / "downloads", progress, source)
        progress("drawing 128 px from the font")
        files, large = render(deb_member(font, FONT_FILE, 1 << 26), [r.file for r in records])
        _save_images(folder / "emoji-128.npz", files, large)
    progress(EmojiSet(images, records, words).summary())
    return folder


def prepare(
    entries: Iterable[dict[str, Any]], pictures: dict[str, npt.NDArray[np.uint8]], seed: int = 0
) -> tuple[tuple[Record, ...], npt.NDArray[np.uint8]]:
    """Records with captions and splits, and their images, in the order of the emoji standard; entries without a
    picture are left out."""
    drafts: list[dict[str, Any]] = []
    entries = list(entries)
    uses = Counter(words_of(e["name"]) for e in entries)
    for entry in sorted(entries, key=lambda e: (e["sort_order"], e["unified"])):
        if entry["category"] == "Component":
            continue
        name = words_of(entry["name"])
        if uses[name] > 1:
            name = words_of(_spaced(entry["short_names"][0]))
        for variant in (entry, *entry.get("skin_variations", {}).values()):
            if variant["image"] in pictures:
                drafts.append(_draft(entry, variant, name))
    images = np.stack([pictures[d["file"]] for d in drafts])
    groups = twin_groups(images)
    items = [Item(d["base"], d["role"], d["tones"], d.pop("words")) for d in drafts]
    sides = split(items, groups, seed)
    return tuple(Record(**d, group=g, split=s) for d, g, s in zip(drafts, groups, sides, strict=True)), images


def _draft(entry: dict[str, Any], variant: dict[str, Any], name: tuple[str, ...]) -> dict[str, Any]:
    codes = variant["unified"].split("-")
    tones = tuple(_TONE_OF[c] for c in codes if c in _TONE_OF)
    kind = tuple(w for w in words_of(_spaced(entry["subcategory"])) if w not in {"other", "person", *name})
    people = [
        (tone, _PEOPLE[code])
        for code, tone in zip(codes, [_TONE_OF.get(c) for c in codes[1:]], strict=False)
        if code in _PEOPLE
    ]
    crowd = {"two", "man", "men", "woman", "women", "people", "person"}
    each = tuple(w for tone, word in people for w in (tone, word) if w) + tuple(w for w in name if w not in crowd)
    if len(set(tones)) == 2:
        forms = [each + kind, each]
    else:
        tone = tones[:1]
        short = [] if entry["category"] == "Flags" else [words_of(_spaced(s)) for s in entry["short_names"]]
        forms = [tone + name + kind, tone + name, *([name + tone] if tone else []), *(tone + s for s in short if s)]
        if len(tones) == 2:
            forms.append(each)
    caption, *alternates = dict.fromkeys(forms)
    people_role = entry["subcategory"].startswith("person-") and bool(entry.get("skin_variations"))
    role = "-".join(c for c in codes if c not in _NOT_ROLE) if people_role else ""
    return {
        "file": variant["image"],
        "name": entry["name"],
        "caption": caption,
        "alternates": tuple(alternates),
        "category": entry["category"],
        "subcategory": entry["subcategory"],
        "base": entry["unified"],
        "role": role,
        "tones": tones,
        "words": name,
    }


def _spaced(text: str) -> str:
    return text if text in ("+1", "-1") else text.replace("_", " ").replace("-", " ")


def _save_images(path: Path, files: Sequence[str], images: npt.NDArray[np.uint8]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=images, files=np.array(files))
    write_bytes(path, buffer.getvalue())


def _format(folder: Path) -> int | None:
    try:
        found = json.loads((folder / "records.json").read_text(encoding="utf-8")).get("format")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None


def _record(saved: dict[str, Any]) -> Record:
    tuples = {
        "caption": tuple(saved["caption"]),
        "alternates": tuple(map(tuple, saved["alternates"])),
        "tones": tuple(saved["tones"]),
    }
    return Record(**{**saved, **tuples})
