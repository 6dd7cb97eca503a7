"""The emoji set: preparation from a made-up package, and the real set where it has been fetched."""

import dataclasses
import hashlib
import io
import json
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from parvis.data import emoji
from parvis.data.captions import TONES
from parvis.data.emoji import EmojiSet, fetch_emoji, load_emoji, prepare
from parvis.data.fetch import EMOJI, cache_root
from parvis.errors import DataError, UsageError

CODES = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")


def entry(code: str, name: str, short: str, kind: str, variants: list[str] | None = None) -> dict[str, Any]:
    toned = {v: {"unified": f"{code}-{v}", "image": f"{code}-{v}.png".lower()} for v in variants or []}
    return {
        "unified": code,
        "image": f"{code}.png".lower(),
        "name": name,
        "short_names": [short],
        "category": "People & Body",
        "subcategory": kind,
        "sort_order": int(code[:5], 16),
        "skin_variations": toned,
    }


def entries() -> list[dict[str, Any]]:
    couple = entry("1F46B", "MAN AND WOMAN HOLDING HANDS", "couple", "family")
    two = "1F469-1F3FB-200D-1F91D-200D-1F468-1F3FF"
    couple["skin_variations"] = {"1F3FB-1F3FF": {"unified": two, "image": f"{two}.png".lower()}}
    roles = [entry(f"1F9{i:02X}", f"ROLE{i}", f"role_{i}", "person-role", list(CODES)) for i in range(6)]
    return [
        *roles,
        couple,
        entry("1F4A1", "THUMBS UP SIGN", "+1", "hands"),
        entry("1F4A2", "ROLE1", "other_role", "tool"),
    ]


def pictures() -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    rng = np.random.default_rng(0)
    files = [v["image"] for e in entries() for v in (e, *e["skin_variations"].values())]
    return {f: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for f in files}


def test_captions_of_tones_couples_and_repeated_names() -> None:
    records, images = prepare(entries(), pictures())
    by_file = {r.file: r for r in records}
    assert len(records) == len(images) == len(pictures())
    assert by_file["1f900-1f3fe.png"].caption == ("medium-dark-skin", "role0", "role")
    assert ("role0", "medium-dark-skin") in by_file["1f900-1f3fe.png"].alternates
    two = by_file["1f469-1f3fb-200d-1f91d-200d-1f468-1f3ff.png"]
    assert two.caption == ("light-skin", "woman", "dark-skin", "man", "holding", "hands", "family")
    assert by_file["1f4a1.png"].alternates[-1] == ("plus", "one")
    assert by_file["1f901.png"].caption[:2] == ("role", "1") and by_file["1f4a2.png"].caption[:2] == ("other", "role")


def test_images_follow_their_records_and_missing_pictures_are_left_out() -> None:
    given = pictures()
    del given["1f902.png"]
    records, images = prepare(entries(), given)
    assert "1f902.png" not in [r.file for r in records]
    for record, image in zip(records, images, strict=True):
        assert np.array_equal(image, given[record.file])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small package of the published layout, which also holds things that must not be touched."""
    folder = tmp_path / "given"
    folder.mkdir()
    with tarfile.open(folder / EMOJI.file, "w:gz") as tar:

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        add("../../escaped.png", b"x")
        add("package/emoji.json", json.dumps(entries()).encode())
        for name, picture in pictures().items():
            out = io.BytesIO()
            Image.fromarray(picture).save(out, "PNG")
            add(f"package/img/google/64/{name}", out.getvalue())
    digest = hashlib.sha256((folder / EMOJI.file).read_bytes()).hexdigest()
    monkeypatch.setattr(emoji, "EMOJI", dataclasses.replace(EMOJI, sha256=digest))
    return folder


def test_fetch_from_a_folder_by_hand(package: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    fetch_emoji(tmp_path / "cache", lines.append, given=package, resolutions=(64,))
    found = load_emoji(64, tmp_path / "cache")
    assert len(found) == len(pictures()) and found.resolution == 64
    pixels = found.pixels([0, 2])
    assert pixels.shape == (2, 3, 64, 64) and pixels.min() >= -1 and pixels.max() <= 1
    assert len(found.select("train")) + len(found.select("base")) + len(found.select("combination")) == len(found)
    before = {p.name: p.read_bytes() for p in (tmp_path / "cache/data/emoji").iterdir()}
    fetch_emoji(tmp_path / "cache", lines.append, given=package, resolutions=(64,))
    assert "already" in lines[-1]
    fetch_emoji(tmp_path / "again", lines.append, given=package, resolutions=(64,))
    assert {p.name: p.read_bytes() for p in (tmp_path / "again/data/emoji").iterdir()} == before
    assert not list(tmp_path.rglob("escaped*"))


def test_another_file_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / EMOJI.file).write_bytes(b"not it")
    with pytest.raises(DataError, match="sha256"):
        fetch_emoji(tmp_path / "cache", print, given=tmp_path)
    assert not (tmp_path / "cache/data/emoji/records.json").exists()


def test_a_missing_client_says_how_to_get_the_file_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"npm.*not installed.*--from DIR"):
        fetch_emoji(tmp_path / "cache", print)


def test_a_client_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error network is unreachable' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"unreachable.*--from DIR"):
        fetch_emoji(tmp_path / "cache", print)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_not_fetched_and_wrong_resolution_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="parvis data fetch emoji"):
        load_emoji(64, tmp_path)
    with pytest.raises(UsageError, match="64 and 128"):
        load_emoji(96, tmp_path)


def test_a_damaged_set_is_explained(package: Path, tmp_path: Path) -> None:
    folder = fetch_emoji(tmp_path, lambda s: None, given=package, resolutions=(64,))
    file = folder / "emoji-64.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        load_emoji(64, tmp_path)


# The real set


@pytest.fixture(scope="module")
def real() -> EmojiSet:
    if not (cache_root() / "emoji" / "records.json").is_file():
        pytest.skip("the emoji set is not fetched")
    return load_emoji(64)


def test_real_counts(real: EmojiSet) -> None:
    assert len(real) == 3781
    assert len(real.select("train")) > 3400 and 70 <= len(real.select("combination")) <= 90
    assert 90 <= len({r.base for r in real.select("base").records}) <= 100


def test_real_split_has_no_twin_across(real: EmojiSet) -> None:
    sides = defaultdict(set)
    for r in real.records:
        sides[r.group].add(r.split)
    assert all(len(s) == 1 for s in sides.values())
    held = [i for i, r in enumerate(real.records) if r.split != "train"]
    trained = [i for i, r in enumerate(real.records) if r.split == "train"]
    flat = real.pixels(trained).flatten(1)
    for flip in (False, True):
        other = real.pixels(held)
        other = (other.flip(-1) if flip else other).flatten(1)
        square = (other * other).mean(1)[:, None] + (flat * flat).mean(1) - 2 * other @ flat.T / flat.shape[1]
        assert square.min().clamp(min=0).sqrt() / 2 >= 0.049  # pixels here span 2, not 1


def test_real_combinations_have_their_base_in_other_tones(real: EmojiSet) -> None:
    trained = defaultdict(set)
    for r in real.select("train").records:
        trained[r.base].add(r.tones)
    for r in real.select("combination").records:
        assert r.tones not in trained[r.base] and len(trained[r.base] - {()}) >= 3


def test_real_captions_are_distinct_and_fit(real: EmojiSet) -> None:
    captions = [r.caption for r in real.records]
    assert len(set(captions)) == len(captions)
    assert max(map(len, captions)) <= real.words.slots
    assert all(w in real.words for r in real.select("train").records for c in r.captions for w in c)
    assert all(t in real.words for t in TONES)


def test_real_128_is_the_same_drawings(real: EmojiSet) -> None:
    if not (cache_root() / "emoji" / "emoji-128.npz").is_file():
        pytest.skip("128 px are not prepared")
    large = load_emoji(128)
    where = {r.file: i for i, r in enumerate(real.records)}
    assert len(large) >= 3770
    some = range(0, len(large), 37)
    small = real.pixels([where[large.records[i].file] for i in some])
    halved = large.pixels(list(some)).unflatten(3, (64, 2)).unflatten(2, (64, 2)).mean((3, 5))
    error = (halved - small).square().mean((1, 2, 3)).sqrt() / 2
    assert error.median() < 0.03 and error.max() < 0.4
