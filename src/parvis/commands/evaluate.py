"""``parvis evaluate``: all metrics of a set of pictures, or of a tokenizer, printed and recorded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_quiet, bar, command, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.evaluate.features import FeatureNet
    from parvis.evaluate.measure import Measured, Protocol
    from parvis.evaluate.pictures import Pictures
    from parvis.evaluate.record import Record
    from parvis.evaluate.reference import Reference

EXAMPLES = (
    "parvis evaluate runs/my-model --reference imagenet/ --resolution 256 --features efficientnet-lite0",
    "parvis evaluate samples.npz --reference adm_in256_stats.npz --features inception --name my-model",
    "parvis evaluate tokenizer ./my-tokenizer --reference photos/ --resolution 256",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "evaluate",
        "measure samples against real pictures, or what a tokenizer loses",
        "Samples are what `parvis sample` wrote, an .npz (arr_0) or a folder of pictures; the reference is an .npz or "
        "a folder, or published statistics (mu, sigma). Every number stands beside the same for two halves of the real "
        "pictures. A record goes to --results.",
        EXAMPLES,
    )
    parser.add_argument(
        "samples", nargs="+", metavar="SAMPLES", help="samples; or `tokenizer` and a model's or a tokenizer's folder"
    )
    parser.add_argument("--reference", "--data", type=Path, required=True, metavar="REF", help="the real pictures")
    parser.add_argument(
        "--features",
        default="efficientnet-lite0",
        metavar="NET",
        help="efficientnet-lite0, thumbnails, inception, classifier:FOLDER or module:function (%(default)s)",
    )
    parser.add_argument("--resolution", type=int, help="cut the pictures of folders to so many pixels")
    parser.add_argument("--limit", type=int, help="a random choice of so many pictures, with a tokenizer")
    parser.add_argument("--name", help="what the record calls the model; as the samples say unless given")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="(%(default)s)")
    parser.add_argument("--dimensions", type=int, default=64, help="of the projected distance (%(default)s)")
    parser.add_argument("--subset", type=int, default=1000, help="pictures in a subset of kid (%(default)s)")
    parser.add_argument("--replicates", type=int, default=200, help="of the bootstrap (%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="pictures described at once (%(default)s)")
    parser.add_argument("--device", default="cpu", help="where the net runs (%(default)s)")
    add_quiet(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from parvis.evaluate.measure import Protocol
    from parvis.evaluate.nets import find_net
    from parvis.files import check_writable

    if args.batch < 1 or (args.limit is not None and args.limit < 2):
        raise UsageError(f"--batch {args.batch} --limit {args.limit}: give 1 or more, and a limit of 2 or more")
    check_writable(args.results, folder=True)
    net = find_net(args.features, args.device)
    protocol = Protocol(dimensions=args.dimensions, subset=args.subset, replicates=args.replicates)
    if args.samples[0] == "tokenizer" and len(args.samples) == 2:
        from parvis.commands.losses import evaluate_tokenizer

        return report(args, evaluate_tokenizer(args, Path(args.samples[1]), net, protocol))
    if len(args.samples) > 1:
        raise UsageError(f"{args.samples} are several sets of samples; evaluate them one after the other")
    return report(args, evaluate_samples(args, Path(args.samples[0]), net, protocol))


def evaluate_samples(args: argparse.Namespace, path: Path, net: FeatureNet, protocol: Protocol) -> Record:
    """Measure samples; duplicates among them are a note of the record, and a warning."""
    from dataclasses import asdict

    from parvis.evaluate.duplicates import duplicates
    from parvis.evaluate.machine import machine, versions
    from parvis.evaluate.measure import Measured, measure
    from parvis.evaluate.pictures import described
    from parvis.evaluate.record import Record
    from parvis.evaluate.reference import open_reference

    samples, about = open_samples(path, args.resolution)
    with bar(args, samples.count, "picture") as progress:
        features, sha256 = described(samples, net, args.batch, progress.tell)
    with bar(args, 0, "reference") as progress:
        real = open_reference(args.reference, net, args.resolution, args.batch)
    found = measure(features, real, net, protocol)
    found |= obeyed(samples, features, real, net)
    twice = duplicates(samples)
    found["near_duplicates"] = Measured(twice.near / twice.count, note=twice.note)
    notes = [f"{name}: {one.note}" for name, one in found.items() if one.note]
    size = f"{samples.height}x{samples.width}"
    if real.size and real.size != size:
        notes.append(f"the samples are {size}, the reference {real.size}: the net sees both, scaled")
    return Record(
        kind="samples",
        model={**about["model"], **({"name": args.name} if args.name else {})},
        settings=about["settings"],
        samples={"name": samples.name, "count": samples.count, "size": size, "sha256": sha256, **about["samples"]},
        reference=real.identity,
        features=net.identity,
        protocol=asdict(protocol),
        metrics={name: one.as_dict() for name, one in found.items()},
        cost=about["cost"],
        machine=machine(_device(args.device)),
        versions=versions(),
        notes=notes,
    )


def open_samples(path: Path, resolution: int | None) -> tuple[Pictures, dict[str, Any]]:
    """Pictures, and what is known of how they were made: all where `parvis sample` made them, else next to nothing."""
    from parvis.evaluate.pictures import open_pictures
    from parvis.mass import read_plan
    from parvis.mass.blocks import MANIFEST, SAMPLES, pictures, record_of

    folder = path.parent if path.name == SAMPLES and (path.parent / "plan.json").is_file() else path
    if not (folder / "plan.json").is_file():
        about = {"model": {"name": path.stem}, "settings": {}, "samples": {"conditions": "unknown"}, "cost": {}}
        return open_pictures(path, resolution), about
    plan = read_plan(folder)
    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} is not finished; run the same `parvis sample` again")
    records = [record_of(folder, plan, low, high) or {} for low, high in plan.blocks()]
    asked = f"{plan.classes} classes, {plan.conditions}"
    if plan.captions:
        import hashlib

        told = hashlib.sha256("\n".join(plan.captions).encode()).hexdigest()
        asked = f"{len(plan.captions)} captions in turn, {told[:16]}"
    seconds = sum(record.get("seconds", 0.0) for record in records) / plan.count
    return pictures(folder, plan), {
        "model": dict(plan.model),
        "settings": dict(plan.settings),
        "samples": {"seeds": [plan.seed, plan.seed + plan.count - 1], "conditions": asked},
        "cost": {
            "passes": max(record.get("passes", 0) for record in records),
            "seconds_per_picture": round(seconds, 5),
        },
    }


def obeyed(samples: Pictures, features: Any, real: Reference, net: FeatureNet) -> dict[str, Measured]:
    """Whether pictures show what they were asked for, where that can be told (``evaluate/retrieval.py``)."""
    import torch

    from parvis.evaluate.retrieval import retrieved

    found: dict[str, Measured] = {}
    if samples.labels is not None and net.classify is not None and net.name.startswith("classifier"):
        with torch.inference_mode():
            guessed = net.classify(features)
        if int(samples.labels.max()) < guessed.shape[1]:
            found["class_accuracy"] = _share(guessed.argmax(1) == torch.from_numpy(samples.labels), net.name)
    if samples.captions is not None and real.captions is not None and real.features is not None:
        best, among, known = retrieved(features, samples.captions, real.features, real.captions)
        if bool(known.any()):
            left = int((~known).sum())
            note = f"{left} pictures have captions that the reference has not" if left else ""
            found["caption_top1"] = _share(best[known], note)
            found["caption_top5"] = _share(among[known], note)
    return found


def _share(hits: Any, note: str) -> Measured:
    from parvis.evaluate.measure import Measured

    value = float(hits.double().mean())
    error = (value * (1 - value) / len(hits)) ** 0.5
    return Measured(value, max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error), error, note=note)


def report(args: argparse.Namespace, record: Record) -> int:
    """Write the record and say what is in it."""
    import warnings

    from parvis.evaluate.record import save
    from parvis.output import format_table

    path = save(record, args.results)
    if args.json:
        print_json({"file": str(path), "id": record.id, "metrics": record.metrics, "notes": list(record.notes)})
        return 0
    for note in record.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    if not args.quiet:
        rows = []
        for name, one in record.metrics.items():
            between = f"{one['low']:.4g} to {one['high']:.4g}" if "low" in one and "high" in one else None
            told = [f"{one[key]:.4g}" if key in one else None for key in ("spread", "floor")]
            rows.append([name, f"{one['value']:.4g}", between, *told])
        print(format_table(["metric", "value", "95 %", "spread", "real against real"], rows))
        print(
            f"{record.samples['count']} pictures against {record.reference.get('count') or 'statistics'} of "
            f"{record.reference['name']}, {record.features['name']} -> {path}"
        )
    return 0


def _device(name: str) -> Any:
    import torch

    return torch.device(name)
