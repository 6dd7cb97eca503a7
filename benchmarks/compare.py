"""The bundled pair beside each other: distance to the real pictures, captions obeyed, time.

    python benchmarks/compare.py --models emoji-64 emoji-64-raster --n 4000 --out runs/compare
    python benchmarks/compare.py --models emoji-64 --n 1200 --sweep guidance=1.5,2,3 --sweep steps=8,10 --out runs/sweep

Models are bundled names or model folders; the others are held against the last one. A run that was stopped goes on
where it was: pictures are kept in OUT/samples. Results: tables on the screen, OUT/compare.json (sweep.json;
latency.json with --only latency) with everything that is needed to run it again, and OUT/sheet.png. What the numbers
mean: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from conditions import differences, facts_of, versions
from judge import NETS, SCORES, SPLITS, Bench, Judged, bench, captions, common_ground, judge
from PIL import Image
from samples import Pictures, Settings, Wanted, draw, settings, through

from parvis.assemble import read_folder
from parvis.errors import ParvisError, UsageError
from parvis.evaluate.frechet import ratio
from parvis.evaluate.latency import race
from parvis.evaluate.machine import machine
from parvis.files import write_bytes
from parvis.output import format_table, save_png, sheet
from parvis.pipeline import Pipeline, load
from parvis.weights.catalog import find
from parvis.weights.folder import load_config

TYPES: dict[str, Callable[[str], float]] = {
    "steps": int, "guidance": float, "temperature": float, "top_k": int, "top_p": float,
}  # fmt: skip
CEILING = "real, through the tokenizer"
DISTANCES = ("Frechet", "beyond tokenizer")
Maker = Callable[[Sequence[Wanted]], Pictures]


def maker(given: argparse.Namespace, name: str, pipeline: Pipeline, how: Settings) -> Maker:
    config = load_config(find(name))
    return lambda wanted: draw(pipeline, config, wanted, how, given.out / "samples", given.batch)


def prepare(given: argparse.Namespace, pipelines: Sequence[Pipeline], splits: Sequence[str]) -> tuple[Bench, Judged]:
    """The bench, and the real pictures through the first model's tokenizer as a contestant."""
    at = bench(*common_ground(pipelines), given)
    folder = find(given.models[0])
    tokenizer = read_folder(folder)[0].tokenizer.float().eval()
    sha256 = load_config(folder).files["tokenizer.safetensors"].sha256

    def make(wanted: Sequence[Wanted]) -> Pictures:
        own = at.data.images[[w.index for w in wanted]]
        return through(tokenizer, sha256, own, given.out / "samples", given.batch)

    best = judge(at, splits, make)
    return replace(at, attainable=best.features), best


def quality(given: argparse.Namespace, pipelines: Sequence[Pipeline]) -> dict[str, Any]:
    """Distances, their ratios, and captions obeyed; prints them and writes the sheet."""
    at, best = prepare(given, pipelines, SPLITS)
    models, found = [], []
    rows: list[list[object]] = []
    for name, pipeline in zip(given.models, pipelines, strict=True):
        how = settings(pipeline, given.settings)
        found.append(judge(at, SPLITS, maker(given, name, pipeline, how)))
        rows.append([given.labels[len(rows)], str(how), *found[-1].cells(())])
        models.append(
            {
                **facts_of(pipeline, load_config(find(name))),
                "label": rows[-1][0],
                "settings": asdict(how),
                **found[-1].facts(),
            }
        )
    rows.append([CEILING, None, *best.cells(())])
    print(format_table(["model", "settings", *DISTANCES], rows), at.explain(), sep="\n\n", end="\n\n")
    each = [row for label, one in zip([*given.labels, CEILING], [*found, best], strict=True) for row in one.rows(label)]
    each.sort(key=lambda row: SPLITS.index(str(row[0])))
    print(format_table(["captions", "model", "pictures", *SCORES], each), end="\n\n")
    ratios = {
        f"{label} / {given.labels[-1]}": compared(given, at, one, found[-1])
        for label, one in zip(given.labels[:-1], found[:-1], strict=True)
    }
    for label, both in ratios.items():
        for which, one in both.items():
            print(f"{which} {label}: {one['value']:.3f} (95 % {one['low']:.3f} to {one['high']:.3f})")
    save_sheet(at, {label: one.images for label, one in zip(given.labels, found, strict=True)}, given.out / "sheet.png")
    return {**at.facts(), "models": models, "real_through_tokenizer": best.facts(), "ratios": ratios}


def compared(given: argparse.Namespace, at: Bench, one: Judged, last: Judged) -> dict[str, dict[str, Any]]:
    """Ratio of both distances with bootstrap intervals."""
    assert at.attainable is not None
    targets = dict(zip(DISTANCES, (at.projection(at.real), at.attainable), strict=True))
    return {
        which: asdict(ratio(target, one.features, last.features, at.clusters(), given.replicates))
        for which, target in targets.items()
    }


def save_sheet(at: Bench, images: Mapping[str, Mapping[str, Pictures]], path: Path) -> None:
    """Real picture and every contestant's beside it, for some captions of each split."""
    tiles: list[Pictures] = []
    labels: list[str] = []
    for split, count in (("seen", 12), ("combination", 6), ("base", 6)):
        wanted = at.captions[split]
        for i in np.linspace(0, len(wanted) - 1, min(count, len(wanted))).astype(int):
            tiles += [at.data.images[wanted[i].index], *(pictures[split][i] for pictures in images.values())]
            labels += [f"{split}: {wanted[i].prompt}", *images]
    columns = (1 + len(images)) * (2 if len(images) < 4 else 1)
    save_png(path, sheet([Image.fromarray(tile) for tile in tiles], labels, columns=columns))


def latency(given: argparse.Namespace, pipelines: Sequence[Pipeline]) -> dict[str, Any]:
    """Seconds of every model and how many times faster than the last it is, guidance being the first one's for all."""
    wanted, _ = captions(*common_ground(pipelines), max(given.batches), 0, given.seed)
    prompts = [w.prompt for w in wanted["seen"]]
    hows = [settings(pipeline, given.settings) for pipeline in pipelines]

    def runner(pipeline: Pipeline, how: Settings) -> Callable[[int], object]:
        options = asdict(how) | {"guidance": hows[0].guidance}
        return lambda batch: pipeline.generate(prompts[:batch], seed=0, **options)

    runs = {label: runner(p, how) for label, p, how in zip(given.labels, pipelines, hows, strict=True)}
    times = race(runs, given.batches, given.repeats)
    found, rows = [], []
    for one, how in zip(times, hows * len(given.batches), strict=True):
        last = next(t for t in times if t.batch == one.batch and t.name == given.labels[-1])
        faster = last.over(one)
        found.append({**asdict(one), "passes": how.steps, "seconds": one.seconds, "faster": asdict(faster)})
        processor = None if faster.processor is None else f"{faster.processor:.2f}"
        turns = f"{faster.least:.2f} to {faster.greatest:.2f}"
        rows.append([one.batch, one.name, how.steps, f"{one.seconds:.4f}", f"{faster.wall:.2f}", turns, processor])
    head = ["batch", "model", "passes", "seconds", "times faster", "in single turns", "by processor time"]
    print(format_table(head, rows))
    print(f"median of {given.repeats} interleaved runs, prompt to picture, guidance {hows[0].guidance:g} for all")
    return {"guidance": hows[0].guidance, "repeats": given.repeats, "runs": found}


def sweep(given: argparse.Namespace, pipelines: Sequence[Pipeline]) -> dict[str, Any]:
    """Every model with every combination of the settings of ``--sweep``; a combination that changes nothing (other
    passes for a fixed order) is measured once."""
    splits = SPLITS[:2]
    at, _ = prepare(given, pipelines, splits)
    found: list[tuple[int, Settings, Judged]] = []
    for number, (name, pipeline) in enumerate(zip(given.models, pipelines, strict=True)):
        done: set[Settings] = set()
        for values in itertools.product(*given.sweep.values()):
            how = settings(pipeline, given.settings | dict(zip(given.sweep, values, strict=True)))
            if how not in done:
                done.add(how)
                found.append((number, how, judge(at, splits, maker(given, name, pipeline, how))))
                print(f"{given.labels[number]}, {how}: {found[-1][2].frechet}", flush=True)
    found.sort(key=lambda one: (one[0], one[2].frechet.distance))
    rows = [[given.labels[number], str(how), *judged.cells(splits)] for number, how, judged in found]
    head = ["model", "settings", *DISTANCES, *(f"{split} {score}" for split in splits for score in SCORES[:2])]
    print("\n" + format_table(head, rows), at.explain(), sep="\n\n")
    runs = [{"model": given.labels[number], "settings": asdict(how), **judged.facts()} for number, how, judged in found]
    facts = [facts_of(p, load_config(find(name))) for name, p in zip(given.models, pipelines, strict=True)]
    return {**at.facts(), "models": facts, "runs": runs}


def read(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["emoji-64", "emoji-64-raster"], help="names or folders")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder for the results (%(default)s)")
    parser.add_argument("--n", type=int, default=4000, help="captions of the training set (%(default)s)")
    parser.add_argument("--held", type=int, default=2, help="pictures of each held-out caption (%(default)s)")
    parser.add_argument("--seed", type=int, help="other captions and seeds; 0, or 1 in a sweep, unless given")
    parser.add_argument("--batch", type=int, default=64, help="pictures drawn at once (%(default)s)")
    parser.add_argument("--features", choices=sorted(NETS), default="efficientnet-lite0", help="(%(default)s)")
    parser.add_argument("--dimensions", type=int, default=64, help="of the features (%(default)s)")
    parser.add_argument("--projection", choices=["pca", "random"], default="pca", help="(%(default)s)")
    parser.add_argument("--replicates", type=int, default=500, help="of the bootstrap (%(default)s)")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], help="that are timed (1 8)")
    parser.add_argument("--repeats", type=int, default=9, help="of every timing (%(default)s)")
    parser.add_argument("--only", choices=["quality", "latency"], help="one half of the comparison")
    parser.add_argument("--sweep", action="append", default=[], metavar="NAME=A,B,..", help="settings to try instead")
    parser.add_argument("--precision", help="auto, fp32 or bf16 (auto)")
    parser.add_argument("--device", help="where the models run (cpu)")
    for name, kind in TYPES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="for all models; their own unless given")
    given = parser.parse_args(argv)
    given.settings = {name: getattr(given, name) for name in TYPES if getattr(given, name) is not None}
    given.sweep = dict(map(axis, given.sweep))
    given.seed = int(bool(given.sweep)) if given.seed is None else given.seed
    return given


def axis(text: str) -> tuple[str, list[float]]:
    """``guidance=1.5,2`` as a name of a setting and its values."""
    name, _, values = text.partition("=")
    name = name.strip().replace("-", "_")
    try:
        return name, [TYPES[name](value) for value in values.split(",")]
    except (KeyError, ValueError) as error:
        raise UsageError(f"--sweep {text!r}: write one of {', '.join(TYPES)}, '=' and values with commas") from error


def labels(pipelines: Sequence[Pipeline]) -> list[str]:
    """The models' own names, with a number where one comes twice (two trainings of one recipe, say)."""
    names = [pipeline.name for pipeline in pipelines]
    return [name if names.count(name) == 1 else f"{name} #{i + 1}" for i, name in enumerate(names)]


def main(argv: Sequence[str] | None = None) -> int:
    try:
        given = read(argv)
        pipelines = [load(find(name), device=given.device, precision=given.precision) for name in given.models]
        given.labels = labels(pipelines)
        asked = {k: str(v) if isinstance(v, Path) else v for k, v in vars(given).items() if k not in ("out", "models")}
        out: dict[str, Any] = {
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "asked": asked,
            "machine": machine(pipelines[0].device),
            "versions": versions(),
        }
        if given.sweep:
            out |= sweep(given, pipelines)
        else:
            out["notes"] = differences([load_config(find(name)) for name in given.models], pipelines)
            print(*out["notes"], sep="\n")
            out |= {} if given.only == "latency" else quality(given, pipelines)
            if given.only != "quality":
                out["latency"] = latency(given, pipelines)
    except ParvisError as error:
        print(f"compare: error: {error}", file=sys.stderr)
        return error.exit_code
    path = given.out / ("sweep.json" if given.sweep else "latency.json" if given.only == "latency" else "compare.json")
    write_bytes(path, json.dumps(out, indent=1).encode())
    print(f"\n-> {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
