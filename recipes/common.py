"""What recipes share: pictures or codes in, a trained model folder out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parvis.assemble import parts
from parvis.data.codes import CodeCache, is_cache, tokenizer_hash
from parvis.data.encode import encode_images
from parvis.data.source import open_data
from parvis.errors import DataError, UsageError
from parvis.files import check_writable
from parvis.generate import generate, pixels
from parvis.model.base import Model
from parvis.output import save_png, sheet, to_images
from parvis.progress import Progress
from parvis.request import Request
from parvis.system import System
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.folder import read_tokenizer
from parvis.train import FitConfig, fit
from parvis.train.cached import cached
from parvis.train.distributed import main_first, main_process
from parvis.train.loop import Loss
from parvis.train.objectives import Objective
from parvis.weights.config import MAX_LIST, FolderConfig
from parvis.weights.folder import save_folder


@dataclass(frozen=True)
class Cut:
    """How pictures are to be encoded, if they are not yet."""

    resolution: int | None = None
    """Pixels per side; 64, or what a cache has, unless given."""
    crop: str = "centre"
    flip: bool = True
    skip_bad: bool = False
    strict: bool = False
    """Whether a cache that is cut otherwise is refused."""


def codes_of(
    data: Path, tokenizer: Path | None, out: Path, cut: Cut, device: str = "cpu"
) -> tuple[CodeCache, Tokenizer, Path]:
    """The code cache to train on, its tokenizer and where that lies.

    ``data`` is a cache, which is checked against the tokenizer (its own unless one is given), or pictures, which are
    encoded into ``out/codes`` unless that was done before.

    Raises:
        DataError: the cache is of another tokenizer or resolution. UsageError: pictures without a tokenizer.
    """
    if is_cache(data):
        folder = tokenizer or own_tokenizer(CodeCache.open(data))
        wanted: dict[str, Any] = {} if cut.resolution is None else {"resolution": cut.resolution}
        wanted |= {"crop": cut.crop, "flip": cut.flip} if cut.strict else {}
        model = read_tokenizer(folder)
        return CodeCache.open(data, model, **wanted), model, folder
    if tokenizer is None:
        raise UsageError(
            f"{data} holds pictures, which need a tokenizer: give --tokenizer DIR "
            "(`parvis tokenizer train small --data PICTURES` makes one), or codes that `parvis encode` wrote"
        )
    model, place, resolution = read_tokenizer(tokenizer), out / "codes", cut.resolution or 64
    check_writable(out, folder=True)
    images = open_data(data, resolution).cut(cut.crop)
    with main_first(device):
        if not is_cache(place):
            progress = Progress(len(images), what="encoding", every=30.0)
            encode_images(
                images, model, place, flip=cut.flip, skip_bad=cut.skip_bad, tokenizer_folder=str(tokenizer.resolve()),
                progress=lambda done, _: progress.tell(done),
            )  # fmt: skip
            progress.clear()
    source = str(images.root.resolve())
    how: dict[str, Any] = {"resolution": resolution, "crop": cut.crop, "flip": cut.flip, "source": source}
    return CodeCache.open(place, model, **how), model, tokenizer


def own_tokenizer(cache: CodeCache) -> Path:
    """The folder of the tokenizer that made the cache. Raises DataError where it is not known or no longer there."""
    folder = Path(cache.manifest.tokenizer_folder)
    if not cache.manifest.tokenizer_folder or not (folder / "config.json").is_file():
        gone = f"{folder} is not there any more" if cache.manifest.tokenizer_folder else "it does not say which"
        raise DataError(f"{cache.path} needs the tokenizer that made it, but {gone}; give --tokenizer DIR")
    return folder


def class_names(cache: CodeCache) -> int | list[str]:
    """Of the cache, or their number where a model folder cannot hold the names; one class where there are none."""
    names = cache.manifest.classes
    return list(names) if 0 < len(names) <= MAX_LIST else max(1, len(names))


def taught(objective: Objective, drop: float) -> Loss:
    """The loss that ``fit`` takes: ``objective``, a share ``drop`` of the classes replaced by the null class."""

    def loss(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        assert isinstance(model, Model)
        values = batch["values"]
        dropped = torch.rand(len(values), generator=generator, device=generator.device) < drop
        return objective(model, values, batch["label"], generator, dropped)

    return loss


def run(
    system: System, folder: FolderConfig, cache: CodeCache, objective: Objective, config: FitConfig, drop: float = 0.1
) -> int:
    """Train the system's model on the cache (or go on with it) and write ``config.out/model``; returns the steps done.

    Every ``config.sample_every`` steps a sheet drawn with fixed seeds goes to ``config.out/sheets``.
    """
    assert config.out is not None
    model, out = system.models["main"], config.out
    system.tokenizer.to(config.device)
    batches = cached(cache, config.batch, config.seed)
    fitted = fit(config, model, taught(objective, drop), batches, on_sample=lambda _, step: draw(system, step, config))
    if not main_process():
        return fitted.step
    about = {
        "steps": str(fitted.step),
        "images": str(fitted.step * config.batch),
        "codes": cache.identity,
        "tokenizer": tokenizer_hash(system.tokenizer.cpu()),
        "loss": f"{fitted.loss:.4f}",
    }
    if fitted.ema is not None:
        model.load_state_dict(fitted.ema.tensors)
    tensors = {file: module.state_dict() for file, module in parts(system).items()}
    save_folder(out / "model", FolderConfig(folder.system, folder.arguments, about=about), tensors)
    return fitted.step


def draw(system: System, step: int, config: FitConfig, count: int = 16) -> None:
    """A sheet of ``count`` pictures, always of the same classes and seeds."""
    assert config.out is not None
    classes = len(system.classes) or int(getattr(system.models["main"].condition, "classes", 1))
    labels = torch.arange(count) % classes
    request = Request(labels.to(config.device), tuple(range(count)))
    canvas, _ = generate(system, request, torch.device(config.device))
    names = [system.classes[i] if system.classes else str(i) for i in labels.tolist()]
    save_png(config.out / "sheets" / f"{step:06d}.png", sheet(to_images(pixels(system, canvas)), names))


def rebuilt(system: System, tokenizer: Tokenizer) -> System:
    """``system`` with the weights of the trained tokenizer in place, frozen."""
    system.tokenizer.load_state_dict(tokenizer.state_dict())
    system.tokenizer.eval().requires_grad_(False)
    return system
