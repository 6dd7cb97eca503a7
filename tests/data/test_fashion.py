"""Fashion-MNIST from a package of our own making: the same layout, a few pictures."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from parvis.data import fashion
from parvis.data.fetch import FASHION
from parvis.errors import DataError

COUNT = {"train": 6, "test": 3}


def package(folder, monkeypatch, short=0):
    rng, archive = np.random.default_rng(0), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for split, prefix in (("train", "train"), ("test", "t10k")):
            n = COUNT[split]
            images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
            labels = np.arange(n, dtype=np.uint8)
            for name, magic, array in (("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels)):
                head = struct.pack(f">{1 + array.ndim}i", magic, *array.shape)
                blob = gzip.compress(head + array.tobytes()[: len(array.tobytes()) - short])
                info = tarfile.TarInfo(f"./usr/share/datasets/fashion-mnist/{prefix}-{name}-ubyte.gz")
                info.size = len(blob)
                tar.addfile(info, io.BytesIO(blob))
    body = archive.getvalue() + b"\n" * (len(archive.getvalue()) % 2)
    member = b"%-16s%-12s%-6s%-6s%-8s%-10d`\n" % (b"data.tar.gz/", b"0", b"0", b"0", b"100644", len(archive.getvalue()))
    path = folder / FASHION.file
    path.write_bytes(b"!<arch>\n" + member + body)
    monkeypatch.setattr(fashion, "FASHION", replace(FASHION, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    monkeypatch.setattr(fashion, "_COUNT", COUNT)


def test_both_splits_are_prepared_and_framed_in_black(tmp_path, monkeypatch):
    package(tmp_path, monkeypatch)
    said = []
    fashion.fetch_fashion(tmp_path / "cache", said.append, tmp_path)
    data = fashion.load_fashion("train", tmp_path / "cache")
    assert len(data) == 6 and data.resolution == 32 and data.labels().tolist() == [0, 1, 2, 3, 4, 5]
    pixels, images = data.pixels([1, 4]), data.images([1, 4])
    assert pixels.shape == (2, 3, 32, 32) and images.shape == (2, 32, 32, 3)
    assert (pixels[:, :, :2] == -1).all() and (pixels[..., -2:] == -1).all() and (images[:, :2] == 0).all()
    again = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(again, pixels)
    assert len(fashion.load_fashion("test", tmp_path / "cache")) == 3
    fashion.fetch_fashion(tmp_path / "cache", said.append, tmp_path / "nowhere")
    assert "already" in said[-1]


def test_what_is_missing_or_damaged_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="parvis data fetch fashion"):
        fashion.load_fashion("train", tmp_path)
    package(tmp_path, monkeypatch, short=5)
    with pytest.raises(DataError, match="images-idx3"):
        fashion.fetch_fashion(tmp_path / "cache", lambda _: None, tmp_path)
    place = tmp_path / "cache" / "data" / "fashion"
    place.mkdir(parents=True, exist_ok=True)
    (place / "train.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="damaged"):
        fashion.load_fashion("train", tmp_path / "cache")
