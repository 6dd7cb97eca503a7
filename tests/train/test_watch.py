"""Sheets and distances while training, what trackers are told, and blocks that are computed again or compiled."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from parvis.errors import UsageError
from parvis.noise import Noise
from parvis.request import Request
from parvis.train import FitConfig, fit
from parvis.train.objective import order_cross_entropy, random_order
from parvis.train.spread import tuned
from parvis.train.watch import Distance, Watch, distance
from toys import NAMES, given, toy
from training_worker import digest, train

CONFIG = FitConfig(steps=4, batch=4, lr=1e-3, warmup=0, log_every=1, checkpoint_seconds=0, ema=0.9, sample_every=2)


def pictures(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def watched(out: Path, **changes: Any) -> tuple[dict[str, Any], Watch]:
    """A toy LPD that learns four sets of codes, with a watch over it; returns where it ended."""
    system = copy.deepcopy(toy("lpd"))
    model, conditions = system.models["main"].requires_grad_(True), given(system, 4)
    codes = torch.randint(system.tokenizer.vocabulary or 0, (4, system.grid.tokens), generator=torch.manual_seed(3))
    requests = tuple(Request(conditions, tuple(range(4 * i, 4 * i + 4))) for i in range(3))
    watch = Watch(
        system, Request(conditions, (0, 1, 2, 3)), list("abcd"), out, distance(pictures(24), requests, dimensions=6)
    )

    def loss(module: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        order = random_order(len(batch["codes"]), [(4, 4, 8)], generator)
        return order_cross_entropy(model, batch["codes"], batch["given"], order)

    def batches(step: int) -> dict[str, Tensor]:
        return {"codes": codes, "given": conditions}

    until = changes.pop("until", None)
    seen = watch if changes.pop("watched", True) else None
    end = fit(replace(CONFIG, out=out, **changes), model, loss, batches, seen, until, quiet=True)
    assert end.ema is not None
    return {"weights": digest(model.state_dict()), "average": digest(end.ema.tensors), "loss": end.loss}, watch


def test_sheets_and_distances_are_the_same_again_and_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = watched(tmp_path / "a")
    said = capsys.readouterr().out
    assert "step 2: distance" in said and "12 pictures against 24 real; 6 dimensions (pca) of 16x16 pixels" in said
    watched(tmp_path / "b", until=2)
    again, _ = watched(tmp_path / "b")
    unseen, _ = watched(tmp_path / "c", watched=False)
    assert first == again == unseen
    for name in ("000002.png", "000004.png"):
        assert (tmp_path / "a/sheets" / name).read_bytes() == (tmp_path / "b/sheets" / name).read_bytes()
    assert (tmp_path / "a/sheets/000002.png").read_bytes() != (tmp_path / "a/sheets/000004.png").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "a/distances.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4] and lines[0]["features"] == "16x16 pixels"
    assert lines[0]["fake"] == 12 and lines[0]["real"] == 24 and lines[0]["floor"]["count"] == 12
    rows = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    assert [row["frechet"] for row in rows if "frechet" in row] == [line["distance"] for line in lines]


def test_a_watch_wants_its_own_model_and_enough_pictures(tmp_path: Path) -> None:
    _, watch = watched(tmp_path, steps=1, sample_every=0)
    with pytest.raises(UsageError, match="not in the system"):
        watch(nn.Linear(1, 1), 1)
    assert isinstance(watch.distance, Distance)
    with pytest.raises(UsageError, match="12 drawn pictures give no distance in 12 dimensions"):
        distance(pictures(24), watch.distance.requests, dimensions=12)


def test_tensorboard_gets_numbers_and_sheets(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    watched(tmp_path)
    events = loader.EventAccumulator(str(tmp_path / "log"))
    events.Reload()
    assert {"loss", "grad", "lr", "frechet"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    images = events.Images("samples")
    with Image.open(tmp_path / "sheets/000004.png") as sheet:
        assert (images[-1].width, images[-1].height) == sheet.size and images[-1].step == 4


def test_trackers_of_accelerate_are_told(tmp_path: Path) -> None:
    tracking = pytest.importorskip("accelerate.tracking")

    class Told(tracking.GeneralTracker):  # type: ignore[name-defined,misc]
        name, requires_logging_directory, main_process_only = "told", False, False

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[tuple[int, dict[str, float]]] = []
            self.config: dict[str, Any] = {}
            self.pictures: list[tuple[int, tuple[int, ...]]] = []
            self.ended = 0

        @property
        def tracker(self) -> None:
            return None

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            self.config = values

        def log(self, values: dict[str, float], step: int | None = None, **_: Any) -> None:
            assert step is not None
            self.rows.append((step, values))

        def log_images(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
            assert step is not None
            self.pictures += [(step, array.shape) for array in values.values()]

        def finish(self) -> None:
            self.ended += 1

    told = Told()
    watched(tmp_path, trackers=(told,))
    assert [step for step, row in told.rows if "loss" in row] == [1, 2, 3, 4]
    assert [step for step, _ in told.pictures] == [2, 4] and len(told.pictures[0][1]) == 4
    assert told.config["steps"] == 4 and told.config["identity"] == "{}" and told.ended == 1
    with pytest.raises(UsageError, match="no-such-tracker"):
        train(trackers=("no-such-tracker",))


def test_blocks_computed_again_give_the_same_bits() -> None:
    assert train(gradient_checkpointing=True) == train()


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_every_system_can_be_computed_again(name: str) -> None:
    system = copy.deepcopy(toy(name))
    model, conditions = system.models["main"].requires_grad_(True).train(), given(system, 2)
    order = system.order(system.grid, system.preset.steps, Noise((0, 1), torch.device("cpu")))
    codes = torch.randint(system.tokenizer.vocabulary or 0, (2, system.grid.tokens), generator=torch.manual_seed(3))
    view = None if model.view is None else system.tokenizer.teacher_input(codes, system.grid).detach()  # type: ignore[operator]
    grads, kept = [], []
    for again in (False, True):
        model.zero_grad()
        with tuned(model, again, False):
            count = 0

            def keep(tensor: Tensor) -> Tensor:
                nonlocal count
                count += 1
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = order_cross_entropy(model, codes, conditions, order, view_BnC=view)
            loss.backward()  # type: ignore[no-untyped-call]
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        kept.append(count)
    assert kept[1] < 0.6 * kept[0]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's compiler uses what PyTorch deprecates
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # and looks at what PyTorch warns of
def test_compiled_blocks_train(tmp_path: Path) -> None:
    compiled = train(compile=True, out=tmp_path / "a")
    assert compiled["loss"] == pytest.approx(train()["loss"], rel=1e-3)
    train(compile=True, out=tmp_path / "b", until=5)
    assert train(compile=True, out=tmp_path / "b") == compiled


def test_what_has_no_blocks_cannot_be_computed_again() -> None:
    config = replace(CONFIG, gradient_checkpointing=True)
    with pytest.raises(UsageError, match="Linear has no list of blocks"):
        fit(config, nn.Linear(1, 1), lambda *_: torch.zeros(()), lambda _: {"x": torch.zeros(4)}, quiet=True)
