"""The field's claims on equal terms: every family of recipes/fashion.py sampled, measured and timed.

    python benchmarks/claims.py judge     a classifier of Fashion-MNIST, whose features are measured
    python benchmarks/claims.py sweep     guidance for every family: 1, 1.5, 2.5, 4 and 6 on 300 pictures
    python benchmarks/claims.py measure   1,000 pictures of every family and setting, against the test split
    python benchmarks/claims.py latency   seconds for a picture, all families in turn (a quiet machine!)
    python benchmarks/claims.py page      docs/results.md and its plots, from the records alone

Runs are read from runs/fashion/NAME/model (--runs), records are written to results/fashion (--results); what has a
record already is not measured again. ``--only NAME ...`` limits sweep, measure and latency to some runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from claims_page import write_page

from parvis import locality
from parvis.data.fashion import load_fashion
from parvis.decode.denoise import denoise
from parvis.decode.refine import refine
from parvis.errors import ParvisError
from parvis.evaluate.classifier import Training, accuracy, load_classifier, named, save_classifier, train
from parvis.evaluate.features import FeatureNet
from parvis.evaluate.latency import race
from parvis.evaluate.machine import machine, versions
from parvis.evaluate.measure import Protocol, measure
from parvis.evaluate.pictures import Pictures, described, of_array
from parvis.evaluate.record import Record, load_all, save
from parvis.evaluate.reference import Reference, of_pictures
from parvis.flow import times
from parvis.generate import generate, pixels
from parvis.planners import PLANNERS, Planner
from parvis.request import Request
from parvis.schedule import constant
from parvis.system import System
from parvis.systems.maskgit import TEMPERATURE
from parvis.tokenizer.base import Tokenizer
from parvis.tokenizer.folder import read_tokenizer
from parvis.weights.folder import expectation, load_config, load_tensors
from recipes import fashion

Array = npt.NDArray[np.uint8]
PROTOCOL = Protocol(dimensions=64, subsets=50, subset=500, replicates=100)
COUNT, SWEPT = 1000, 300
SCALES = (1.0, 1.5, 2.5, 4.0, 6.0)
FAMILIES = ("raster", "par-4", "par-16", "nar", "arpg", "randar", "lpd", "mar", "xar", "var", "maskgit")
STEPS: dict[str, tuple[int, ...]] = {
    "lpd": (6, 8, 10, 16, 32), "arpg": (6, 10, 16, 32), "randar": (6, 10, 16, 32), "mar": (8, 16, 32), "xar": (5, 10),
    "maskgit": (4, 8, 16),
}  # fmt: skip
"""Of the families that are free to choose; for xAR solver steps in each of its four cells."""
USUAL = {"lpd": 10, "arpg": 10, "randar": 10, "mar": 16, "xar": 10, "maskgit": 8}
ABLATIONS: tuple[tuple[str, int, str], ...] = (
    *(("lpd", steps, order) for steps in (6, 10) for order in ("random", "proximity", "repulsion", "equal groups")),
    ("lpd-apart", 6, ""), ("lpd-apart", 10, ""),
    ("par-4-at-once", 0, ""), ("par-4-adjacent", 0, ""), ("par-4-causal", 0, ""),
)  # fmt: skip
"""(run, steps, order): LPD's model in other orders and groups; runs trained without a part."""


@dataclass(frozen=True)
class Setting:
    """How a run is sampled; ``steps`` 0 where it has no choice."""

    run: str
    steps: int
    order: str = ""
    guidance: float = 1.0


def settings(choose: Callable[[str], float]) -> Iterator[Setting]:
    """All that is measured; ``choose`` gives the guidance of a run."""
    for run in FAMILIES:
        for steps in STEPS.get(run, (0,)):
            yield Setting(run, steps, "", choose(run))
    for run, steps, order in ABLATIONS:
        yield Setting(run, steps, order, choose(run.removesuffix("-apart").replace("par-4-", "par-4:").split(":")[0]))


@cache
def codec(folder: Path) -> Tokenizer:
    return read_tokenizer(folder)


def system_of(runs: Path, run: str) -> System:
    """The trained system of a run."""
    folder = runs / run / "model"
    tokenizer = codec(runs / fashion.RUNS[run].tokenizer.removeprefix("fashion-") / "model")
    system = fashion.build(run, tokenizer)  # type: ignore[arg-type]
    model, config = system.models["main"], load_config(folder)
    model.load_state_dict(load_tensors(folder, expectation(model), file="model.safetensors", config=config))
    model.eval().requires_grad_(False)
    return system


def prepared(system: System, how: Setting) -> tuple[System, dict[str, Any]]:
    """The system and what its requests say, so that it takes ``how.steps`` passes (a cell of xAR: solver steps)."""
    if how.run == "maskgit":
        return replace(system, decoder=refine(how.steps, TEMPERATURE), passes_per_group=how.steps), {}
    if how.run == "xar":
        return replace(system, decoder=denoise(times(how.steps)), passes_per_group=how.steps), {}
    said: dict[str, Any] = {"steps": how.steps} if how.steps else {}
    if how.order == "equal groups":
        size = -(-system.grid.tokens // how.steps)
        planner: Planner = lambda grid, steps, noise: locality.lpd(grid, constant(grid.tokens, size), noise)  # noqa: E731
        return replace(system, order=planner, preset=replace(system.preset, steps=-(-64 // size))), {}
    if how.order:
        said["order"] = PLANNERS[how.order]
    return system, said


def drawn(system: System, how: Setting, seeds: Sequence[int], batch: int = 100) -> tuple[Array, int]:
    """Pictures uint8 [N, 32, 32, 3], class = seed mod 10, and the number of passes."""
    system, said = prepared(system, how)
    parts, passes = [], 0
    with torch.inference_mode():
        for low in range(0, len(seeds), batch):
            chosen = tuple(seeds[low : low + batch])
            request = Request(torch.tensor(chosen) % 10, chosen, guidance=how.guidance, **said)
            canvas, passes = generate(system, request)
            image = pixels(system, canvas).clamp(-1, 1).add(1).mul(127.5).round().byte()
            parts.append(image.permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts), passes


class Bench:
    """What everything is measured with: the net, the test split under it, and the records so far."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.runs, self.results = given.runs, given.results
        judge = given.results / "judge"
        self.net: FeatureNet = load_classifier(judge)
        self.about = load_config(judge).about
        test = load_fashion("test")
        real = of_array("Fashion-MNIST, test split", test.images(), test.labels().numpy())
        self.real: Reference = of_pictures(real, self.net)
        found = load_all(self.results) if self.results.is_dir() else []
        self.records = [record for record in found if record.kind == "samples"]

    def has(self, model: dict[str, Any], asked: dict[str, Any], count: int) -> bool:
        return any(r.model == model and r.settings == asked and r.samples["count"] == count for r in self.records)

    def judge(self, name: str, pictures: Pictures, model: dict[str, Any], asked: dict[str, Any], passes: int) -> None:
        """Measure, and write the record."""
        features, sha256 = described(pictures, self.net)
        found = {key: one.as_dict() for key, one in measure(features, self.real, self.net, PROTOCOL).items()}
        assert self.net.classify is not None and pictures.labels is not None
        found["own_class"] = {"value": named(self.net.classify(features), pictures.labels)}
        record = Record(
            "samples", model, asked,
            {"count": pictures.count, "size": f"{pictures.height}x{pictures.width}", "sha256": sha256,
             "conditions": "class = seed mod 10"},
            self.real.identity,
            {"name": self.net.name, "version": self.net.version, "sha256": self.net.sha256, **dict(self.about)},
            asdict(PROTOCOL), found, {"passes": passes}, machine(torch.device("cpu")), versions(),
        )  # fmt: skip
        save(record, self.results)
        self.records.append(record)
        distance = found["frechet_projected"]["value"]
        print(
            f"{name:42} {passes:3} passes  frechet {distance:7.2f}  own class {found['own_class']['value']:.3f}",
            flush=True,
        )

    def contestant(self, how: Setting, seeds: Sequence[int]) -> None:
        """Draw and measure a run, unless there is a record of it."""
        folder = self.runs / how.run / "model"
        if not (folder / "config.json").is_file():
            print(f"{how.run}: not trained yet")
            return
        system = system_of(self.runs, how.run)
        size = sum(p.numel() for p in system.models["main"].parameters())
        weights = load_config(folder).files["model.safetensors"].sha256
        model = {"name": how.run, "cite": system.cite, "parameters": size, "sha256": weights}
        asked = {"steps": how.steps, "order": how.order, "guidance": how.guidance, "first seed": seeds[0]}
        if not self.has(model, asked, len(seeds)):
            images, passes = drawn(system, how, seeds)
            labels = np.array(seeds) % 10
            self.judge(
                " ".join(map(str, asdict(how).values())), of_array(how.run, images, labels), model, asked, passes
            )

    def guidance(self, run: str) -> float:
        """The swept guidance with the least distance."""
        swept = [r for r in self.records if r.name == run and r.samples["count"] == SWEPT]
        if not swept:
            return 2.0
        best = min(swept, key=lambda r: float(r.metrics["frechet_projected"]["value"]))
        return float(best.settings["guidance"])


def make_judge(given: argparse.Namespace) -> None:
    folder = given.results / "judge"
    if (folder / "config.json").is_file():
        print(f"{folder} is there already")
        return
    seen, unseen = load_fashion("train"), load_fashion("test")
    model = train(seen.images(), seen.labels().numpy(), Training(epochs=1, channels=16))
    share = accuracy(model, unseen.images(), unseen.labels().numpy())
    save_classifier(
        folder, model, {"data": "Fashion-MNIST, training split", "accuracy on the test split": f"{share:.4f}"}
    )
    print(f"accuracy on the test split {share:.4f} -> {folder}")


def sweep(given: argparse.Namespace) -> None:
    bench = Bench(given)
    for run in given.only or FAMILIES:
        for scale in SCALES:
            bench.contestant(Setting(run, USUAL.get(run, 0), "", scale), range(1_000_000, 1_000_000 + SWEPT))


def measure_all(given: argparse.Namespace) -> None:
    bench = Bench(given)
    if not given.only:
        floors(bench)
    for how in settings(bench.guidance):
        if not given.only or how.run in given.only:
            bench.contestant(how, range(COUNT))


def floors(bench: Bench) -> None:
    """Real pictures of the training split as they are, and through each tokenizer: what a perfect model would get."""
    data = load_fashion("train")
    labels = data.labels()[:COUNT].numpy()
    images = data.images(range(COUNT))
    for name in ("", "vq", "kl", "multiscale"):
        made, model = images, {"name": f"real, {name}" if name else "real"}
        asked = {"pictures": "the first of the training split"}
        if bench.has(model, asked, COUNT):
            continue
        if name:
            tokenizer, parts = codec(bench.runs / name / "model"), []
            with torch.inference_mode():
                for low in range(0, COUNT, 100):
                    x = data.pixels(range(low, low + 100))
                    y = tokenizer.decode(tokenizer.encode(x), tokenizer.grid(32, 32)).clamp(-1, 1)
                    parts.append(y.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy())
            made = np.concatenate(parts)
        bench.judge(model["name"], of_array(model["name"], made, labels), model, asked, 0)


def latency(given: argparse.Namespace) -> None:
    """Seconds for pictures, transformer and tokenizer, all settings in turn; one record for each."""
    bench = Bench(given)
    chosen = [
        how for how in settings(bench.guidance)
        if how.run in FAMILIES and (not given.only or how.run in given.only)
        and (bench.runs / how.run / "model" / "config.json").is_file()
    ]  # fmt: skip
    systems = {how.run: system_of(bench.runs, how.run) for how in chosen}

    def contestant(how: Setting) -> Callable[[int], object]:
        return lambda batch: drawn(systems[how.run], how, range(batch))

    found = race({f"{how.run} {how.steps}": contestant(how) for how in chosen}, (1, 16), repeats=given.repeats)
    for one in found:
        run, steps = one.name.split()
        folder = bench.runs / run / "model"
        record = Record(
            "latency", {"name": run, "sha256": load_config(folder).files["model.safetensors"].sha256},
            {"steps": int(steps), "batch": one.batch, "threads": torch.get_num_threads()}, {}, {}, {},
            {"repeats": given.repeats},
            {"seconds": {"value": one.seconds, "low": min(one.wall), "high": max(one.wall)}},
            {}, machine(torch.device("cpu")), versions(),
        )  # fmt: skip
        save(record, given.results)
        print(f"{one.name:16} batch {one.batch:3}  {one.seconds:.3f} s", flush=True)


def page(given: argparse.Namespace) -> None:
    print(f"-> {write_page(load_all(given.results), given.out)}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = {"judge": make_judge, "sweep": sweep, "measure": measure_all, "latency": latency, "page": page}
    parser.add_argument("step", choices=steps)
    parser.add_argument("--runs", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--results", type=Path, default=Path("results/fashion"))
    parser.add_argument("--only", nargs="*", metavar="RUN")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results.md"))
    given = parser.parse_args(arguments)
    try:
        steps[given.step](given)
    except ParvisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
