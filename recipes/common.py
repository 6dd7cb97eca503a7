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
from parvis.data.images import ImageSet, usable
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
from parvis.train.fresh import Fresh, encoded
from parvis.train.loop import Loss
from parvis.train.objectives import Objective
from parvis.weights.config import MAX_LIST, FolderConfig
from parvis.weights.folder import save_folder
from recipes.captions import Texts


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


def pictures_of(data: Path, tokenizer: Path | None, cut: Cut) -> tuple[Fresh, Tokenizer]:
    """The pictures to train on where each is cut anew whenever it is seen, and the tokenizer that encodes them then.

    Raises:
        UsageError: a code cache, which holds what was cut before; or no tokenizer.
    """
    if is_cache(data):
        raise UsageError(
            f"{data} is a code cache, but this training cuts its pictures elsewhere in every epoch; give the pictures, "
            "and --tokenizer DIR"
        )
    if tokenizer is None:
        raise UsageError("this training encodes its pictures while it runs; give --tokenizer DIR")
    images = open_data(data, cut.resolution or 64)
    if cut.skip_bad:
        good, left_out = usable(images, skip_bad=True, limit=0)
        assert isinstance(good, ImageSet), "not kept in memory"
        images = good
        print(f"{left_out} pictures left out because they cannot be decoded")
    return Fresh(images), read_tokenizer(tokenizer)


def own_tokenizer(cache: CodeCache) -> Path:
    """The folder of the tokenizer that made the cache. Raises DataError where it is not known or no longer there."""
    folder = Path(cache.manifest.tokenizer_folder)
    if not cache.manifest.tokenizer_folder or not (folder / "config.json").is_file():
        gone = f"{folder} is not there any more" if cache.manifest.tokenizer_folder else "it does not say which"
        raise DataError(f"{cache.path} needs the tokenizer that made it, but {gone}; give --tokenizer DIR")
    return folder


def class_names(data: CodeCache | Fresh) -> int | list[str]:
    """Of the data, or their number where a model folder cannot hold the names; one class where there are none."""
    names = data.images.classes if isinstance(data, Fresh) else data.manifest.classes
    return list(names) if 0 < len(names) <= MAX_LIST else max(1, len(names))


def resolution_of(data: CodeCache | Fresh) -> int:
    """Pixels per side."""
    return data.images.resolution if isinstance(data, Fresh) else data.manifest.resolution


def taught(objective: Objective, drop: float, tokenizer: Tokenizer) -> Loss:
    """The loss that ``fit`` takes: ``objective``, a share ``drop`` of the classes (or captions) replaced by the null
    class. Pixels are encoded first."""

    def loss(model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        assert isinstance(model, Model)
        values = batch["values"] if "values" in batch else encoded(tokenizer, batch["pixels"])
        dropped = torch.rand(len(values), generator=generator, device=generator.device) < drop
        return objective(model, values, batch.get("words", batch["label"]), generator, dropped)

    return loss


def run(
    system: System,
    folder: FolderConfig,
    data: CodeCache | Fresh,
    objective: Objective,
    config: FitConfig,
    drop: float = 0.1,
    texts: Texts | None = None,
) -> int:
    """Train the system's model on the data (or go on with it) and write ``config.out/model``; returns the steps done.

    With ``texts``, the captions of the cache, a model that takes words learns those in place of classes. Every
    ``config.sample_every`` steps a sheet drawn with fixed seeds goes to ``config.out/sheets``.
    """
    assert config.out is not None
    model, out = system.models["main"], config.out
    system.tokenizer.to(config.device)
    many, seed = config.batch, config.seed
    beside = {"words": texts.ids} if texts else {}
    batches = data.batches(many, seed) if isinstance(data, Fresh) else cached(data, many, seed, beside=beside)
    loss, shown = taught(objective, drop, system.tokenizer), some(system, texts)
    fitted = fit(config, model, loss, batches, on_sample=lambda _, step: draw(system, step, config, shown))
    if not main_process():
        return fitted.step
    about = {
        "steps": str(fitted.step),
        "images": str(fitted.step * config.batch),
        "pictures" if isinstance(data, Fresh) else "codes": data.identity,
        "tokenizer": tokenizer_hash(system.tokenizer.cpu()),
        "loss": f"{fitted.loss:.4f}",
    }
    if fitted.ema is not None:
        model.load_state_dict(fitted.ema.tensors)
    tensors = {file: module.state_dict() for file, module in parts(system).items()}
    lists = {"words.json": {"words": list(texts.words.vocabulary), "slots": texts.words.slots}} if texts else {}
    final = FolderConfig(folder.system, folder.arguments, next(iter(lists), None), about)
    save_folder(out / "model", final, tensors, lists)
    print(f"{fitted.step} steps, loss {fitted.loss:.3f} -> {out / 'model'}; drawn on the way: {out / 'sheets'}")
    return fitted.step


def some(system: System, texts: Texts | None, count: int = 16) -> tuple[Tensor, list[str]]:
    """What a sheet shows, and what its pictures are called: captions from all over the data, or the classes in turn."""
    if texts is None:
        classes = len(system.classes) or int(getattr(system.models["main"].condition, "classes", 1))
        labels = torch.arange(count) % classes
        return labels, [system.classes[i] if system.classes else str(i) for i in labels.tolist()]
    first = {caption: i for i, caption in reversed([*enumerate(texts.captions)]) if caption}
    chosen = sorted(first.values())
    chosen = [chosen[i * len(chosen) // count] for i in range(count)]
    return texts.ids[chosen], [str(texts.captions[i]) for i in chosen]


def draw(system: System, step: int, config: FitConfig, shown: tuple[Tensor, list[str]]) -> None:
    """A sheet of pictures, always of the same conditions and seeds."""
    assert config.out is not None
    given, names = shown
    request = Request(given.to(config.device), tuple(range(len(given))))
    canvas, _ = generate(system, request, torch.device(config.device))
    save_png(config.out / "sheets" / f"{step:06d}.png", sheet(to_images(pixels(system, canvas)), names))


def rebuilt(system: System, tokenizer: Tokenizer) -> System:
    """``system`` with the weights of the trained tokenizer in place, frozen."""
    system.tokenizer.load_state_dict(tokenizer.state_dict())
    system.tokenizer.eval().requires_grad_(False)
    return system
