"""WebDataset shards: what becomes an example, what is refused, and that bytes come from the right place."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parvis.data.shards import expand, open_shards
from parvis.data.source import open_data
from parvis.errors import DataError, UsageError


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 9), (value, value, value)).save(out, "PNG")
    return out.getvalue()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def two(folder: Path) -> None:
    tar(folder / "d-00.tar", {"a.png": png(10), "a.cls": b"7\n", "a.txt": b"ten ", "b.cls": b"2", "b.png": png(20)})
    tar(folder / "d-01.tar", {"x/c.v2.PNG": png(0), "x/c.png": png(30), "x/c.json": b'{"label": 7, "caption": "30"}'})


def test_examples_of_several_shards_with_their_classes_and_captions(tmp_path: Path) -> None:
    two(tmp_path)
    for source in (tmp_path, f"{tmp_path}/d-{{00..01}}.tar"):
        images = open_data(source, 8)
        assert images.classes == ("2", "7") and images.labels().tolist() == [1, 0, 1]
        assert images.captions() == ("ten", None, "30")
        assert [int(images.image(i)[0, 0, 0]) for i in (2, 0, 1)] == [30, 10, 20]
        assert images.names == ("d-00.tar::a.png", "d-00.tar::b.png", "d-01.tar::x/c.png")
    assert images.pixels([1, 2]).shape == (2, 3, 8, 8)


def test_names_of_classes_lie_beside_the_shards(tmp_path: Path) -> None:
    two(tmp_path)
    (tmp_path / "classes.txt").write_text("\n".join(f"class {i}" for i in range(8)))
    images = open_data(tmp_path, 8)
    assert images.classes[7] == "class 7" and images.labels().tolist() == [7, 2, 7]
    (tmp_path / "classes.txt").write_text("zero\none\n")
    with pytest.raises(DataError, match="names 2 classes, but class 7"):
        open_data(tmp_path, 8)


def test_expand() -> None:
    assert [str(p) for p in expand("a-{08..11}.tar")] == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert [str(p) for p in expand("{1..2}/{3..2}.tar")] == ["1/3.tar", "1/2.tar", "2/3.tar", "2/2.tar"]
    assert expand("plain.tar") == [Path("plain.tar")]
    with pytest.raises(UsageError, match="million"):
        expand("{0..99999999999}.tar")


def test_links_and_other_files_are_passed_over(tmp_path: Path) -> None:
    path = tar(tmp_path / "d.tar", {"a.png": png(10), "evil.pyd": b"\x80\x04.", "README": b"no suffix"})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    images = open_shards(path, 8)
    assert len(images) == 1 and images.classes == ()


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"a.txt": b"only text"}, "no pictures"),
        ({"a.png": png(1), "a.cls": b"seven"}, r"a\.cls cannot be read"),
        ({"a.png": png(1), "a.json": b"{"}, r"a\.json cannot be read"),
        ({"a.png": png(1), "a.txt": b"\xff\xfe"}, r"a\.txt cannot be read"),
        ({"a.png": png(1), "a.json": b"[" * 100_000}, r"a\.json cannot be read"),
        ({"a.png": png(1), "a.txt": b"x" * (1 << 21)}, "more than"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, members: dict[str, bytes], told: str) -> None:
    with pytest.raises(DataError, match=told):
        open_shards(tar(tmp_path / "d.tar", members), 8)


def test_damage_is_named_with_shard_and_member(tmp_path: Path) -> None:
    path = tar(tmp_path / "d.tar", {"a.png": png(10), "b.png": b"no picture at all", "b.json": json.dumps([]).encode()})
    images = open_shards(path, 8)
    with pytest.raises(DataError, match=r"d\.tar::b\.png is not a picture"):
        images.image(1)
    (tmp_path / "z.tar").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match="not compressed"):
        open_shards(tmp_path / "z.tar", 8)
    path.rename(tmp_path / "0.tar")
    with pytest.raises(DataError, match="1 of 2 shards"):
        open_shards(f"{tmp_path}/{{0..1}}.tar", 8)


def test_a_cut_shard_fails_by_name_and_not_by_wrong_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    path = tar(tmp_path / "d.tar", {"a.png": out.getvalue()})
    path.write_bytes(path.read_bytes()[:4096])
    with pytest.raises(DataError):
        open_shards(path, 8).image(0)
