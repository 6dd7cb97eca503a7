"""Batches from a code cache: whole epochs, any view, fresh latents, all of it a function of (seed, step)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from parvis.data.encode import encode_dataset
from parvis.tokenizer.kl import KL, KLConfig
from parvis.tokenizer.vqgan import VQGAN, VQConfig
from parvis.train.cached import cached


@dataclass
class Noise:
    resolution: int = 8

    def __len__(self) -> int:
        return 7

    def pixels(self, indices: list[int]) -> Tensor:
        return torch.rand(7, 3, 8, 8, generator=torch.Generator().manual_seed(0))[indices] * 2 - 1


def test_codes_come_in_epochs_with_their_labels_and_in_every_view(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = VQGAN(VQConfig(channels=8, multipliers=(1, 1), groups=4, z_channels=8, codes=17, attention=False))
    label = torch.arange(7)
    cache = encode_dataset(Noise(), tokenizer, tmp_path / "c", flip=True, extra={"label": label}, shard=3)
    batches = cached(cache, 7, seed=3)
    views = set()
    for step in (0, 1, 5):
        batch = batches(step)
        assert sorted(batch["label"].tolist()) == label.tolist() and batch["values"].dtype == torch.long
        for values, i in zip(batch["values"], batch["label"].tolist(), strict=True):
            found = [v for v in range(2) if torch.equal(values, cache.codes[i, v].long())]
            assert found
            views.update(found)
        assert all(torch.equal(cached(cache, 7, seed=3)(step)[k], batch[k]) for k in batch)
    assert views == {0, 1} and not torch.equal(batches(0)["label"], batches(1)["label"])


def test_latents_are_drawn_anew_each_time_they_are_seen(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = KL(KLConfig(channels=8, multipliers=(1, 1), blocks=1, groups=4, z_channels=3))
    cache = encode_dataset(Noise(), tokenizer, tmp_path / "c")
    pick = lambda step: torch.tensor([2, 2])  # noqa: E731
    batches = cached(cache, 2, pick=pick)
    draws = torch.cat([batches(step)["values"] for step in range(400)])
    mean, deviation = cache.column("mean")[2, 0], cache.column("deviation")[2, 0]
    assert torch.equal(batches(3)["values"], batches(3)["values"]) and batches(0)["label"].tolist() == [0, 0]
    assert ((draws.mean(0) - mean).abs() < 6 * deviation / 800**0.5).all()
    assert torch.allclose(draws.std(0), deviation, rtol=0.2)
