"""One process of a training run of toy size, for tests of several processes and of faults.

    torchrun --nproc-per-node 2 tests/training_worker.py '{"out": "runs/a", "steps": 10}'

Takes the settings of FitConfig as JSON, and ``fault``: [kind, step, rank]. Prints one JSON line per process.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parvis.errors import ParvisError
from parvis.train import FitConfig, fit, gather, shuffled

SOURCE = Path(__file__).parent.parent / "src"


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.drop = nn.Linear(width, width), nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(torch.tanh(self.linear(x)))


class Net(nn.Module):
    """Its loss goes round ``forward``, as the objectives of the library do."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.table = nn.Embedding(5, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.head, self.unused = nn.Linear(width, 1), nn.Linear(width, 1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def answer(self, x: Tensor) -> Tensor:
        h = self.table(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h).squeeze(-1)


def loss(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    assert isinstance(model, Net)
    noise = torch.randn(batch["y"].shape, generator=generator)
    error = (model.answer(batch["x"]) - batch["y"] - 0.1 * noise).square().mean()
    return error, {"twice": 2 * error}


X = torch.arange(40) % 5
DATA = gather({"x": X, "y": X.float()}, shuffled(40, 16, seed=3))
PLAIN: dict[str, Any] = {
    "steps": 10, "batch": 16, "lr": 0.01, "warmup": 3, "log_every": 1, "checkpoint_every": 4, "checkpoint_seconds": 0,
    "ema": 0.9, "accumulate": 2, "timeout": 30.0, "clip": 0.3,
}  # fmt: skip


def net(seed: int = 0, width: int = 8) -> Net:
    torch.manual_seed(seed)
    return Net(width)


def digest(tensors: dict[str, Tensor]) -> str:
    """Of all bits of all tensors."""
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


def train(
    fault: tuple[str, int, int] | None = None,
    until: int | None = None,
    slow: float = 0.0,
    width: int = 8,
    seed_of_net: int = 0,
    limit: int = 0,
    **settings: Any,
) -> dict[str, Any]:
    """Runs the toy and says where it ended; ``fault`` strikes in the given process when its step begins.

    ``slow``: seconds that a step takes at least. ``limit``: bytes that a file may have, in process 0.
    """
    settings = {**PLAIN, **settings}
    if settings.get("out"):
        settings["out"] = Path(settings["out"])
    rank = int(os.environ.get("RANK", "0"))
    poisoned = []
    if limit and rank == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def batches(step: int) -> dict[str, Tensor]:
        time.sleep(slow)
        poisoned.clear()
        if fault is not None and step == fault[1] and rank == fault[2]:
            print(json.dumps({"fault": fault[0], "rank": rank, "step": step}), flush=True)
            if fault[0] == "nan":
                poisoned.append(step)
            else:
                os.kill(os.getpid(), getattr(signal, fault[0]))
                time.sleep(0.01)
        return DATA(step)

    def objective(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Any:
        value, metrics = loss(model, batch, generator)
        return value * (float("nan") if poisoned else 1.0), metrics

    model = net(seed_of_net, width)
    end = fit(FitConfig(**settings), model, objective, batches, until=until, quiet=True)
    state = model.state_dict()
    return {
        "rank": rank,
        "step": end.step,
        "loss": end.loss,
        "weights": digest(state),
        "average": digest(end.ema.tensors) if end.ema else "",
        "bias": float(state["head.bias"]),
    }


class Started:
    """A process forked from a server that has imported everything: it trains a moment after it was started."""

    def __init__(self, specs: Sequence[dict[str, Any]], environment: dict[str, str]) -> None:
        self.log = Path(tempfile.mkstemp()[1])
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self.process = context.Process(target=_live, args=(list(specs), environment, self.log), daemon=True)
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join(10)

    def finish(self, seconds: float = 100.0) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, the lines it printed, and all it printed; kills it when the time is up, and fails."""
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.kill()
        text = self.log.read_text()
        self.log.unlink()
        assert code is not None, f"still running after {seconds} s: {text}"
        return code, [json.loads(line) for line in text.splitlines() if line.startswith("{")], text


PRELOAD = [
    "training_worker", "accelerate", "accelerate.utils", "torch.distributed.checkpoint", "torch.distributed.fsdp",
    "torch.distributed.tensor", "torch.utils.tensorboard", "torch._dynamo",
]  # fmt: skip


def _live(specs: list[dict[str, Any]], environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    torch.set_num_threads(1)
    sys.exit(run(specs))


def start(*specs: dict[str, Any], processes: int = 2) -> list[Started]:
    """Starts the processes of a run as a launcher would; each goes through ``specs`` one after the other."""
    if processes == 1:
        return [Started(specs, {})]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    return [Started(specs, {**told, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(processes)]


def run(specs: Sequence[dict[str, Any]]) -> int:
    for given in specs:
        try:
            print(json.dumps(train(**given)), flush=True)
        except ParvisError as error:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
            return error.exit_code
    return 0


def metrics(out: Path) -> list[dict[str, float]]:
    """The lines of ``metrics.jsonl`` but for the speed, which no two runs share."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


if __name__ == "__main__":
    sys.exit(run([json.loads(given) for given in sys.argv[1:]]))
