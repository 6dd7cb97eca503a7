"""The loop: exact resumption, accumulation, bad losses, full disks, samples from the average."""

import dataclasses
import errno
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parvis import files
from parvis.errors import OutputError, TrainingError, UsageError
from parvis.train import FitConfig, fit, gather, loop, shuffled
from parvis.train.checkpoint import steps_of


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(5, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(width, 1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += self.training  # type: ignore[operator]
        h = self.table(x)
        for block in self.blocks:
            h = h + self.drop(torch.tanh(block(h)))
        return self.head(h).squeeze(-1)


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def loss(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    noise = torch.randn(batch["y"].shape, generator=generator)
    error = (model(batch["x"]) - batch["y"] - 0.1 * noise).square().mean()
    return error, {"twice": 2 * error}


DATA = gather({"x": torch.arange(40) % 5, "y": (torch.arange(40) % 5).float()}, shuffled(40, 16, seed=3))
CONFIG = FitConfig(
    steps=10, batch=16, lr=0.01, warmup=3, log_every=2, checkpoint_every=4, checkpoint_seconds=0, ema=0.9
)


def run(out: Path | None = None, until: int | None = None, model: Net | None = None, **changes: Any) -> tuple[Net, Any]:
    model = model or net()
    config = dataclasses.replace(CONFIG, out=out, **changes)
    return model, fit(config, model, loss, DATA, until=until, quiet=True)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_five_and_five_are_ten_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    whole, end = run(optimizer=optimizer)
    run(tmp_path, until=5, optimizer=optimizer)
    torch.rand(7)  # the state of the global generator must not matter
    again, resumed = run(tmp_path, model=net(seed=99), optimizer=optimizer)
    assert resumed.step == 10 and same(whole, again)
    assert all(torch.equal(v, resumed.ema.tensors[k]) for k, v in end.ema.tensors.items())
    assert not same(whole, net())


def test_training_lowers_the_loss_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = net()
    torch.manual_seed(5)
    first = fit(dataclasses.replace(CONFIG, steps=2), net(), loss, DATA, quiet=True).loss
    model, last = run(model=model, steps=60)
    assert last.loss < 0.5 * first
    torch.manual_seed(5)
    run(model=model)
    assert torch.equal(torch.rand(3), expected)


def test_another_seed_is_another_run() -> None:
    assert not same(run()[0], run(seed=1)[0])


def test_a_batch_in_parts_gives_the_same_step() -> None:
    def plain(model: nn.Module, batch: dict[str, Tensor], _: torch.Generator) -> Tensor:
        return (model(batch["x"]) - batch["y"]).square().mean()

    results = []
    for parts in (1, 3):  # 16 in three parts: 6, 6 and 4
        model = net()
        model.drop.p = 0.0
        fit(dataclasses.replace(CONFIG, accumulate=parts), model, plain, DATA, quiet=True)
        results.append(model.head.weight)
    assert torch.allclose(results[0], results[1], atol=1e-5)


def test_wild_steps_change_no_weight_once_the_first_steps_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wild(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        value, _ = loss(model, batch, generator)
        return value * (1e6 if int(model.seen) in (2, 5) else 1.0)  # steps 1 and 4, from 0

    monkeypatch.setattr(loop, "PATIENCE", 3)
    weights = []
    for step in range(1, 7):
        model = net()
        config = dataclasses.replace(CONFIG, skip_above=1e4, clip=0.0, log_every=1, out=tmp_path / str(step))
        fit(config, model, wild, DATA, until=step, quiet=True)
        weights.append(model.head.weight.detach().clone())
    same_as_before = [torch.equal(a, b) for a, b in pairwise([net().head.weight, *weights])]
    assert same_as_before == [False, False, False, False, True, False]
    lines = [json.loads(line) for line in (tmp_path / "6/metrics.jsonl").read_text().splitlines()]
    assert [line["skipped"] for line in lines] == [0, 0, 0, 0, 1, 0]


def test_weight_decay_can_grow_over_a_run() -> None:
    def still(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        return 0 * model.head.weight.sum()  # decay alone moves the weights

    model, config = net(), dataclasses.replace(CONFIG, warmup=0, schedule="wsd", decay=0.0, floor=1.0, ema=0.0)
    start = model.head.weight.detach().clone()
    fit(dataclasses.replace(config, weight_decay=0.1, last_weight_decay=0.5), model, still, DATA, quiet=True)
    for i in range(10):
        start *= 1 - 0.01 * (0.5 - 0.4 * (0.5 + 0.5 * math.cos(math.pi * i / 9)))
    torch.testing.assert_close(model.head.weight.detach(), start)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"skip_above": 0.0}, "skip_above"),
        ({"last_weight_decay": 0.1, "weight_decay": 0.0}, "nothing to start from"),
        ({"schedule": "stairs", "floor": 0.0}, "above 0"),
        ({"schedule": "steps"}, "wsd-cosine or stairs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        dataclasses.replace(CONFIG, **wrong)


def test_a_run_may_be_made_shorter_once_its_warm_up_is_over(tmp_path: Path) -> None:
    plain = {"schedule": "wsd", "decay": 0.25}
    run(tmp_path, until=4, steps=12, warmup=4, **plain)
    with pytest.raises(TrainingError, match="warmup: there 4, now 5"):
        run(tmp_path, steps=8, warmup=5, **plain)  # not over yet
    shorter, end = run(tmp_path, steps=8, warmup=2, **plain)
    whole, _ = run(steps=8, warmup=4, **plain)
    assert end.step == 8 and same(shorter, whole)
    run(tmp_path / "cosine", until=4, warmup=4)
    with pytest.raises(TrainingError, match="warmup: there 4, now 2"):
        run(tmp_path / "cosine", warmup=2)


def test_checkpoints_keep_the_last_two_and_metrics_are_written(tmp_path: Path) -> None:
    run(tmp_path, steps=10, checkpoint_every=2)
    assert steps_of(tmp_path / "checkpoints") == [8, 10]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert lines[0]["twice"] == pytest.approx(2 * lines[0]["loss"]) and lines[0]["grad"] > 0


def test_a_loss_that_is_not_finite_stops_and_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    def bad(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        value, _ = loss(model, batch, generator)
        return value * (float("nan") if int(model.seen) > 5 else 1.0)

    model = net()
    config = dataclasses.replace(CONFIG, out=tmp_path, log_every=100, checkpoint_every=4)
    with pytest.raises(TrainingError, match=r"not finite at step 6.*step-00000004"):
        fit(config, model, bad, DATA, quiet=True)
    assert steps_of(tmp_path / "checkpoints") == [4]
    resumed = net(1)
    fit(config, resumed, loss, DATA, quiet=True)
    assert all(torch.isfinite(v).all() for v in resumed.state_dict().values())


def test_a_full_disk_is_an_output_error_and_leaves_the_older_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, until=4)
    before = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        run(tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == before == ["step-00000004"]


def test_a_kill_while_writing_leaves_no_checkpoint_that_would_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    run(tmp_path, until=4)
    monkeypatch.setattr(files, "_swap", killed)
    with pytest.raises(Killed):
        run(tmp_path)
    monkeypatch.undo()
    assert steps_of(tmp_path / "checkpoints") == [4]
    assert same(run(tmp_path)[0], run()[0])


@pytest.mark.parametrize("change", [{"lr": 0.02}, {"seed": 4}, {"steps": 12}, {"identity": {"codes": "other"}}])
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path, until=4)
    with pytest.raises(TrainingError, match=rf"another run.*{next(iter(change))}"):
        run(tmp_path, **change)


def test_another_model_is_refused_and_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path, until=4)
    with pytest.raises(TrainingError, match="shapes"):
        fit(dataclasses.replace(CONFIG, out=tmp_path), Net(4), loss, DATA, quiet=True)
    weights = tmp_path / "checkpoints/step-00000004/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(TrainingError, match="damaged"):
        run(tmp_path)


def test_a_stable_run_can_be_made_longer(tmp_path: Path) -> None:
    run(tmp_path, until=4, schedule="wsd")
    model, end = run(tmp_path, steps=20, schedule="wsd")
    assert end.step == 20 and same(model, run(steps=20, schedule="wsd")[0])


def test_samples_are_drawn_from_the_average_in_eval_mode_and_change_nothing() -> None:
    seen: list[tuple[int, float]] = []

    def on_sample(model: nn.Module, step: int) -> None:
        assert not model.training and not torch.is_grad_enabled()
        seen.append((step, float(model.state_dict()["head.bias"])))

    model = net()
    end = fit(dataclasses.replace(CONFIG, sample_every=4), model, loss, DATA, on_sample, quiet=True)
    assert [s for s, _ in seen] == [4, 8, 10]
    assert end.ema is not None and seen[-1][1] == float(end.ema.tensors["head.bias"]) != float(model.head.bias.detach())
    assert same(model, run()[0])


def test_bfloat16_autocast_trains() -> None:
    _, end = run(precision="bf16", steps=20)
    assert end.loss < 5


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"ema": 1.5}, {"schedule": "linear"}, {"optimizer": "sgd"}, {"lr": float("nan")}]
)
def test_wrong_settings_are_usage_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        dataclasses.replace(CONFIG, **wrong)
