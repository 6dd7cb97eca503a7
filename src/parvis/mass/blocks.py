"""Blocks of pictures on the disk, and what is made of them.

    OUT/plan.json                   what is drawn
    OUT/blocks/000064-000128.json   written last: this block is whole; sum of its pixels, passes, seconds
    OUT/blocks/000064-000128.npy    its pictures, until they are in samples.npz
    OUT/blocks/000064-000128.tar    its pictures as PNG files, each with a .json (webdataset's layout)
    OUT/samples.npz                 all pictures, as ADM's evaluator reads them
    OUT/sheet.png                   the first of them, to look at
    OUT/manifest.json               written when all is there: what is in the folder, with sums; the same for every run

Every file is written whole or not at all, so workers need no locks: two that draw one block write the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from parvis.data.picture import read_image
from parvis.errors import DataError
from parvis.evaluate.adm import read_batch, write_batch
from parvis.evaluate.pictures import Digest, Pictures
from parvis.files import write_bytes
from parvis.mass.plan import Plan
from parvis.output import save_png, sheet

Array = npt.NDArray[np.uint8]
SAMPLES, MANIFEST, SHEET = "samples.npz", "manifest.json", "sheet.png"
SHOWN = 64
"""Pictures on the sheet."""


def name(low: int, high: int) -> str:
    return f"{low:06d}-{high:06d}"


def write_block(out: Path, plan: Plan, low: int, images: Array, facts: dict[str, Any]) -> None:
    """Write pictures uint8 [n, H, W, 3], the first being number ``low``, in the plan's formats, and say that they are
    there. Raises OutputError."""
    folder, block = out / "blocks", name(low, low + len(images))
    if "npz" in plan.formats:
        buffer = io.BytesIO()
        np.save(buffer, images, allow_pickle=False)
        write_bytes(folder / f"{block}.npy", buffer.getvalue())
    if "png" in plan.formats:
        write_bytes(folder / f"{block}.tar", _tar(plan, low, images))
    record = {"key": plan.key, "low": low, "high": low + len(images), "sha256": _sum(images), **facts}
    write_bytes(folder / f"{block}.json", json.dumps(record).encode())


def record_of(out: Path, plan: Plan, low: int, high: int) -> dict[str, Any] | None:
    """What its .json says of a block that is whole, in all formats of the plan; ``None`` if it must be drawn."""
    folder, block = out / "blocks", name(low, high)
    try:
        record: dict[str, Any] = json.loads((folder / f"{block}.json").read_bytes())
    except (OSError, ValueError):
        return None
    if record.get("key") != plan.key:
        return None
    if "png" in plan.formats and not (folder / f"{block}.tar").is_file():
        return None
    if "npz" in plan.formats and not (folder / f"{block}.npy").is_file() and merged(out) < high:
        return None
    return record


def merged(out: Path) -> int:
    """How many pictures ``samples.npz`` holds; 0 where there is none that can be read."""
    try:
        return len(read_batch(out / SAMPLES)[0])
    except DataError:
        return 0


def read_block(out: Path, low: int, high: int) -> Array:
    """Pictures ``low`` to ``high``, from wherever they are.

    :raises DataError: they are nowhere, or the file is damaged
    """
    place = out / "blocks" / name(low, high)
    if place.with_suffix(".npy").is_file():
        try:
            images: Array = np.load(place.with_suffix(".npy"), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(place.with_suffix(".npy")) from error
        return images
    if (out / SAMPLES).is_file():
        images = read_batch(out / SAMPLES)[0]
        if len(images) >= high:
            return np.asarray(images[low:high])
    return _from_tar(place.with_suffix(".tar"), low, high)


def merge(out: Path, plan: Plan, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Check every block against its sum, put them together, and write the manifest, which is returned. ``classes``:
    their names by number, for the sheet.

    :raises DataError: a block is missing or is not what it was when it was drawn
    """
    whole = Digest(plan.height, plan.width)
    blocks = []

    def parts(sums: Sequence[str]) -> Iterator[Array]:
        for (low, high), expected in zip(plan.blocks(), sums, strict=True):
            images = read_block(out, low, high)
            if images.shape != (high - low, plan.height, plan.width, 3) or _sum(images) != expected:
                raise DataError(
                    f"pictures {low} to {high - 1} of {out} are not those that were drawn; remove what holds them (and "
                    f"blocks/{name(low, high)}.json) and run the same `parvis sample` again"
                )
            whole.add(images)
            yield images

    for low, high in plan.blocks():
        record = record_of(out, plan, low, high)
        if record is None:
            raise DataError(
                f"{out} lacks pictures {low} to {high - 1}; run the same `parvis sample` again to draw them"
            )
        blocks.append({"low": low, "high": high, "sha256": record["sha256"]})
    sums = [block["sha256"] for block in blocks]
    files: dict[str, str] = {}
    path = out / SAMPLES
    if "npz" in plan.formats and (merged(out) != plan.count or any((out / "blocks").glob("*.npy"))):
        write_batch(path, parts(sums), plan.count, plan.labels())
    else:
        for _ in parts(sums):
            pass
    if "npz" in plan.formats:
        with path.open("rb") as file:
            files[SAMPLES] = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = {
        "count": plan.count, "key": plan.key, "size": f"{plan.height}x{plan.width}", "sha256": whole.hex(),
        "seeds": [plan.seed, plan.seed + plan.count - 1], "files": files, "blocks": blocks,
    }  # fmt: skip
    _sheet(out, plan, classes)
    write_bytes(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    _tidy(out, plan)
    return manifest


def pictures(out: Path, plan: Plan) -> Pictures:
    """The samples of a folder, whatever they are kept in."""

    def read(low: int, high: int) -> Array:
        first = low // plan.block * plan.block
        starts = range(first, high, plan.block)
        parts = [read_block(out, start, min(start + plan.block, plan.count)) for start in starts]
        return np.concatenate(parts)[low - first : high - first]

    labels = plan.labels()
    captions = tuple(str(plan.prompt(i)) for i in range(plan.count)) if labels is None else None
    given = None if labels is None else np.array(labels, np.int64)
    return Pictures(out.name, plan.count, plan.height, plan.width, read, given, captions)


def _tar(plan: Plan, low: int, images: Array) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for index, image in enumerate(images, start=low):
            label = plan.label(index)
            said: dict[str, object] = {"id": index, "seed": plan.seed_of(index)}
            said |= {"caption": plan.prompt(index)} if label is None else {"class": label}
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            for suffix, data in (("png", png.getvalue()), ("json", json.dumps(said, ensure_ascii=False).encode())):
                entry = tarfile.TarInfo(f"{index:08d}.{suffix}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _from_tar(path: Path, low: int, high: int) -> Array:
    try:
        with tarfile.open(path, "r:") as archive:
            found = []
            for index in range(low, high):
                member = archive.extractfile(f"{index:08d}.png")
                assert member is not None
                found.append(np.asarray(read_image(Image.open(io.BytesIO(member.read()), formats=["PNG"]))))
        return np.stack(found)
    except (OSError, tarfile.TarError, KeyError, ValueError, AssertionError, DataError) as error:
        raise _damaged(path) from error


def _sheet(out: Path, plan: Plan, classes: Sequence[str]) -> None:
    """The first pictures to look at, ``sheet.png``."""
    count = min(SHOWN, plan.count)
    images = [Image.fromarray(image) for image in pictures(out, plan).read(0, count)]
    asked = [plan.prompt(i) for i in range(count)]
    save_png(out / SHEET, sheet(images, [classes[p] if classes and isinstance(p, int) else str(p) for p in asked]))


def _tidy(out: Path, plan: Plan) -> None:
    """Remove what is in ``samples.npz`` now, and blocks that a longer plan has replaced."""
    wanted = {name(low, high) for low, high in plan.blocks()}
    for path in (out / "blocks").iterdir():
        if path.suffix == ".npy" or (not path.name.startswith(".") and path.stem not in wanted):
            path.unlink(missing_ok=True)


def _sum(images: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _damaged(path: Path) -> DataError:
    return DataError(f"{path} is missing or damaged; remove it and run the same `parvis sample` again")
