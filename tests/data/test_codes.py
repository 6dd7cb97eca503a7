import dataclasses
import errno
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from parvis.data.codes import CodeCache, tokenizer_hash
from parvis.data.encode import encode_dataset, encode_images
from parvis.data.source import open_data
from parvis.errors import DataError, OutputError, UsageError
from parvis.grid import Grid
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.vqgan import VQGAN, VQConfig


class Brightness(Tokenizer):
    """Codes are the rounded mean of each 4 x 4 cell."""

    factor = 4

    def __init__(self, vocabulary: int = 16) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.gain = nn.Parameter(torch.ones(1))

    def encode(self, pixels: Tensor) -> Tensor:
        cells = nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 4) * self.gain
        return ((cells + 1) / 2 * (self.vocabulary - 1)).round().long().clamp(0, self.vocabulary - 1).flatten(1)

    def decode(self, values: Tensor, grid: Grid) -> Tensor:
        raise NotImplementedError


@dataclasses.dataclass
class Pictures:
    data: Tensor
    resolution: int = 8

    def __len__(self) -> int:
        return len(self.data)

    def pixels(self, indices: Sequence[int]) -> Tensor:
        return self.data[list(indices)]


@pytest.fixture
def pictures() -> Pictures:
    return Pictures(torch.rand(11, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def test_codes_are_the_tokenizers_in_order_over_shards_and_mirrored(pictures: Pictures, tmp_path: Path) -> None:
    tokenizer, done = Brightness(), []
    labels = torch.arange(11) % 3
    kwargs = {"flip": True, "batch": 2, "shard": 4, "extra": {"label": labels}}
    made = encode_dataset(pictures, tokenizer, tmp_path / "c", progress=lambda i, n: done.append((i, n)), **kwargs)  # type: ignore[arg-type]
    cache = CodeCache.open(tmp_path / "c", tokenizer, resolution=8, flip=True, crop="none")
    assert cache.codes.shape == (11, 2, 4) and cache.codes.dtype == torch.int16 and len(cache) == 11
    assert torch.equal(cache.codes[:, 0].long(), tokenizer.encode(pictures.data))
    assert torch.equal(cache.codes[:, 1].long(), tokenizer.encode(pictures.data.flip(-1)))
    assert torch.equal(cache.extra["label"], labels) and cache.grid == Grid.square(2)
    assert done[-1] == (11, 11) and cache.identity == made.identity
    assert len(list((tmp_path / "c").glob("*.safetensors"))) == 3


def test_another_tokenizer_or_setting_is_refused_by_name(pictures: Pictures, tmp_path: Path) -> None:
    encode_dataset(pictures, Brightness(), tmp_path / "c")
    other = Brightness()
    nn.init.constant_(other.gain, 0.5)
    with pytest.raises(DataError, match=r"something else \(tokenizer"):
        CodeCache.open(tmp_path / "c", other)
    with pytest.raises(DataError, match=r"resolution: cache 8, wanted 16"):
        CodeCache.open(tmp_path / "c", Brightness(), resolution=16)
    with pytest.raises(DataError, match=r"flip: cache False, wanted True; vocabulary: cache 16, wanted 32"):
        CodeCache.open(tmp_path / "c", flip=True, vocabulary=32)
    with pytest.raises(UsageError, match="no size"):
        CodeCache.open(tmp_path / "c", size=8)


def test_the_hash_knows_every_weight_and_type() -> None:
    first, second = Brightness(), Brightness()
    assert tokenizer_hash(first) == tokenizer_hash(second)
    assert tokenizer_hash(second.to(torch.bfloat16)) != tokenizer_hash(first)
    nn.init.constant_(first.gain, 1.0000001)
    assert tokenizer_hash(first) != tokenizer_hash(Brightness())


def test_damage_is_found(pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(DataError, match="not a code cache"):
        CodeCache.open(path)
    encode_dataset(pictures, Brightness(), path)
    shard = path / "codes-00000.safetensors"
    blob = shard.read_bytes()
    shard.write_bytes(blob[:-2] + b"\x01\x00")
    with pytest.raises(DataError, match="checksum"):
        CodeCache.open(path)
    shard.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        CodeCache.open(path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["shards"][0][0] = "../elsewhere.safetensors"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="outside"):
        CodeCache.open(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        CodeCache.open(path)


def test_a_full_disk_leaves_the_old_cache(pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = encode_dataset(pictures, Brightness(), tmp_path / "c")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space"):
        encode_dataset(pictures, Brightness(32), tmp_path / "c")
    assert CodeCache.open(tmp_path / "c").identity == old.identity and len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_no_cache_is_never_replaced(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not be replaced"):
        encode_dataset(pictures, Brightness(), tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").exists()
    again = encode_dataset(pictures, Brightness(32), tmp_path / "c")
    assert encode_dataset(pictures, Brightness(), tmp_path / "c").identity != again.identity


def test_wrong_calls_are_explained(pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label"):
        encode_dataset(pictures, Brightness(), tmp_path / "c", extra={"label": torch.zeros(3)})
    with pytest.raises(UsageError, match="no pictures"):
        encode_dataset(Pictures(torch.zeros(0, 3, 8, 8)), Brightness(), tmp_path / "c")
    with pytest.raises(UsageError, match="multiples of 4"):
        encode_dataset(Pictures(pictures.data, resolution=9), Brightness(), tmp_path / "c")


def test_a_tuned_decoder_keeps_the_hash_and_another_codebook_does_not() -> None:
    tokenizer = VQGAN(VQConfig(channels=8, multipliers=(1, 1), groups=4, z_channels=8, codes=17, attention=False))
    before = tokenizer_hash(tokenizer)
    nn.init.ones_(tokenizer.decoder.conv_out.weight)
    nn.init.ones_(tokenizer.post_quant_conv.weight)
    assert tokenizer_hash(tokenizer) == before
    nn.init.ones_(tokenizer.quantize.embedding.weight)
    assert tokenizer_hash(tokenizer) != before


def folder(path: Path) -> Path:
    """Five pictures of two classes, one of them damaged."""
    generator = torch.Generator().manual_seed(1)
    for i, name in enumerate(("a/0.png", "a/1.png", "b/2.png", "b/3.png", "b/4.png")):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        noise = torch.randint(0, 256, (10, 12, 3), generator=generator).byte().numpy()
        Image.fromarray(noise).save(path / name)
        if i == 2:
            (path / name).write_bytes((path / name).read_bytes()[:60])
    (path / "metadata.jsonl").write_text('{"file_name": "b/3.png", "text": "three"}')
    return path


def test_bad_pictures_are_an_error_by_name_or_left_out_with_all_that_is_theirs(tmp_path: Path) -> None:
    images = open_data(folder(tmp_path / "p"), 8)
    with pytest.raises(DataError, match=r"b/2\.png is not a picture"):
        encode_images(images, Brightness(), tmp_path / "c")
    assert not (tmp_path / "c").exists()
    cache = encode_images(images, Brightness(), tmp_path / "c", skip_bad=True, batch=2)
    assert len(cache) == 4 and cache.manifest.skipped == 1 and cache.manifest.classes == ("a", "b")
    assert cache.extra["label"].tolist() == [0, 0, 1, 1]
    assert cache.pictures == (("a/0.png", None), ("a/1.png", None), ("b/3.png", "three"), ("b/4.png", None))
    assert torch.equal(cache.codes[:, 0].long(), Brightness().encode(images.pixels([0, 1, 3, 4])))
    for i in (0, 1, 3, 4):
        images.pictures[i].path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 5"):
        encode_images(images, Brightness(), tmp_path / "d", skip_bad=True)


def test_ten_crops_are_ten_views(tmp_path: Path) -> None:
    images = open_data(folder(tmp_path / "p"), 8).select([0, 1, 3, 4]).cut("ten")
    cache = encode_images(images, Brightness(), tmp_path / "c", batch=3)
    assert cache.codes.shape == (4, 10, 4) and cache.manifest.crop == "ten" and cache.manifest.views == 10
    for i in range(4):
        assert torch.equal(cache.codes[i].long(), Brightness().encode(images.views([i])[0]))
    with pytest.raises(UsageError, match="mirror images already"):
        encode_images(images, Brightness(), tmp_path / "d", flip=True)


def test_latents_are_stored_as_what_they_are_drawn_from(pictures: Pictures, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = KL(KLConfig(channels=8, multipliers=(1, 1), blocks=1, groups=4, z_channels=3)).eval()
    cache = encode_dataset(pictures, tokenizer, tmp_path / "c", flip=True, batch=11, shard=4)
    assert cache.latents and len(cache.shards) == 3 and cache.grid.tokens == 16
    normal = torch.randn(11, 16, 3, generator=torch.Generator().manual_seed(0))
    for view, pixels in enumerate((pictures.data, pictures.data.flip(-1))):
        mean, deviation = (cache.column(name)[:, view] for name in ("mean", "deviation"))
        assert torch.allclose(mean + deviation * normal, tokenizer.encode(pixels, normal), atol=1e-5)
    with pytest.raises(UsageError, match="holds latents, not codes"):
        _ = cache.codes


def test_rows_are_read_across_shards(pictures: Pictures, tmp_path: Path) -> None:
    cache = encode_dataset(pictures, Brightness(), tmp_path / "c", flip=True, shard=3)
    index, view = torch.tensor([10, 0, 2, 3, 9]), torch.tensor([0, 1, 1, 0, 1])
    assert torch.equal(cache.rows("codes", index, view), cache.codes[index, view])


def test_names_and_captions_are_checked_too(tmp_path: Path) -> None:
    images = open_data(folder(tmp_path / "p"), 8).select([0, 1])
    cache = encode_images(images, Brightness(), tmp_path / "c")
    (tmp_path / "c/pictures.jsonl").write_text("")
    with pytest.raises(DataError, match=r"pictures\.jsonl is damaged"):
        _ = cache.pictures
