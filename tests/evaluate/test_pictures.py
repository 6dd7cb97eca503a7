"""ADM batches, folders and references: the same pictures are the same, wherever they lie."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from parvis.errors import DataError, UsageError
from parvis.evaluate.adm import read_arrays, read_batch, write_batch
from parvis.evaluate.features import features_of, thumbnails
from parvis.evaluate.pictures import digest, of_array, open_pictures
from parvis.evaluate.reference import open_reference


def pictures(count: int, side: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_numpy_reads_what_is_written_and_we_read_what_numpy_writes(tmp_path: Path) -> None:
    images, labels = pictures(7), list(range(7))
    path = write_batch(tmp_path / "ours.npz", (images[i : i + 3] for i in (0, 3, 6)), 7, labels)
    with np.load(path, allow_pickle=False) as archive:
        assert (archive["arr_0"] == images).all() and archive["arr_1"].tolist() == labels
        assert archive["arr_0"].dtype == np.uint8 and archive["arr_1"].dtype == np.int64
    assert all(info.compress_type == zipfile.ZIP_STORED for info in zipfile.ZipFile(path).infolist())
    np.savez(tmp_path / "theirs.npz", images, np.array(labels))
    np.savez_compressed(tmp_path / "packed.npz", images)
    for name in ("ours", "theirs", "packed"):
        found, given = read_batch(tmp_path / f"{name}.npz")
        assert (found == images).all() and (given is None if name == "packed" else given.tolist() == labels)
        assert isinstance(found, np.memmap) == (name != "packed")


def test_equal_pictures_make_equal_files(tmp_path: Path) -> None:
    images = pictures(6)
    one = write_batch(tmp_path / "a.npz", [images], 6).read_bytes()
    assert one == write_batch(tmp_path / "b.npz", [images[:1], images[1:]], 6).read_bytes()


@pytest.mark.parametrize(
    ("parts", "count", "labels", "message"),
    [
        ([pictures(3)], 4, None, "4 pictures were announced and 3 came"),
        ([pictures(3)], 3, [1], "1 labels for 3"),
        ([pictures(2), pictures(2, 16)], 4, None, "one size"),
        ([pictures(2).astype(np.float32)], 2, None, "float32"),
        ([], 1, None, "0 came"),
    ],
)
def test_a_batch_that_is_wrong_leaves_no_file(tmp_path: Path, parts, count, labels, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=message):
        write_batch(tmp_path / "x.npz", iter(parts), count, labels)
    assert list(tmp_path.iterdir()) == []


def test_python_objects_are_never_unpickled(tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return touched.write_text, ("boom",)

    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "bomb.npz", arr_0=np.array([Bomb()], dtype=object))
        with pytest.raises(DataError, match="Python objects"):
            read_batch(tmp_path / "bomb.npz")
    assert not touched.exists()


def test_files_that_lie_about_their_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, pictures(3))
    good = path.read_bytes()
    path.write_bytes(good.replace(b"(3, 8, 8, 3)", b"(9, 8, 8, 3)"))
    with pytest.raises(DataError, match="not as many"):
        read_batch(path)
    for cut in (10, len(good) // 2, len(good) - 5):
        path.write_bytes(good[:cut])
        with pytest.raises(DataError, match="can be read"):
            read_batch(path)
    np.savez(path, pictures(3).astype(np.float32))
    with pytest.raises(DataError, match="float32"):
        read_batch(path)


def test_a_batch_and_a_folder_of_the_same_pictures_are_the_same_set(tmp_path: Path) -> None:
    images = pictures(5)
    for i, image in enumerate(images):
        (tmp_path / "all" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "all" / f"c{i % 2}" / f"{i}.png")
    order = [0, 2, 4, 1, 3]
    path = write_batch(tmp_path / "x.npz", [images[order]], 5)
    folder, batch = open_pictures(tmp_path / "all"), open_pictures(path)
    assert folder.labels is not None and folder.labels.tolist() == [0, 0, 0, 1, 1]
    assert (folder.count, folder.height, folder.width) == (5, 8, 8) == (batch.count, batch.height, batch.width)
    assert digest(folder) == digest(batch) == digest(of_array("x", images[order])) != digest(of_array("x", images))
    assert (batch.some(3) == batch.some(3)).all() and len(batch.some(9)) == 5
    net = thumbnails(4)
    one, two = open_reference(tmp_path / "all", net), open_reference(path, net)
    assert one.sha256 == two.sha256 and one.identity["size"] == "8x8"
    assert one.features is not None and torch.equal(one.features, features_of(images[order], net))


def test_pictures_of_several_sizes_need_a_resolution(tmp_path: Path) -> None:
    for side in (8, 16):
        Image.fromarray(pictures(1, side)[0]).save(tmp_path / f"{side}.png")
    with pytest.raises(DataError, match="--resolution"):
        list(open_pictures(tmp_path).parts())
    assert open_pictures(tmp_path, 8).read(0, 2).shape == (2, 8, 8, 3)
    write_batch(tmp_path / "x.npz", [pictures(2)], 2)
    with pytest.raises(DataError, match="8 x 8, not 16 x 16"):
        open_pictures(tmp_path / "x.npz", 16)


def test_published_statistics_are_a_reference_of_the_right_net_only(tmp_path: Path) -> None:
    path, net = tmp_path / "stats.npz", thumbnails(2)
    np.savez(path, mu=np.zeros(12), sigma=np.eye(12))
    found = open_reference(path, net)
    assert (
        found.features is None
        and found.count == 0
        and torch.equal(found.moments.covariance.diagonal(), torch.ones(12).double())
    )
    with pytest.raises(UsageError, match="12 features, 16x16 pixels has 768"):
        open_reference(path, thumbnails())
    for bad in ({"mu": np.zeros(12)}, {"other": np.zeros(3)}):
        np.savez(path, **bad)
        with pytest.raises(DataError, match="neither"):
            open_reference(path, net)
    np.savez(path, mu=np.full(12, np.nan), sigma=np.eye(12))
    with pytest.raises(DataError, match="finite"):
        open_reference(path, net)
    np.savez(path, mu=np.zeros(12), sigma=np.eye(12), arr_0=pictures(4))
    assert open_reference(path, net).count == 4
    assert list(read_arrays(path, ("mu",))) == ["mu"]
