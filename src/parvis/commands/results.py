"""``parvis results``: what has been measured, side by side, and nothing beside what it does not compare with."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvis.commands import add_json, add_out, check_suffix, command, names, print_json
from parvis.errors import UsageError

if TYPE_CHECKING:
    from parvis.commands import Commands
    from parvis.evaluate.record import Record

EXAMPLES = (
    "parvis results list",
    "parvis results show 3f2a91c07d5e",
    "parvis results compare 3f2a91c07d5e 88c1d02b6a47 --allow samples.count",
    "parvis results table --metrics frechet_projected,precision,recall > table.md",
    "parvis results plot --x cost.passes --y frechet_projected -o pareto.svg",
)


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "results",
        "list, show, compare and plot records of measurements",
        "A record is a JSON file that `parvis evaluate` wrote. Records compare only where metrics, feature net, "
        "reference and numbers of pictures are the same; each difference is named.",
        EXAMPLES,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    told = {
        "list": ("one line for every record", run_list),
        "show": ("everything that one record says", run_show),
        "compare": ("metrics of two or more records side by side; refused where they are not alike", run_compare),
        "table": ("a Markdown table of all records that compare with the first", run_table),
        "plot": ("records that compare with the first as points, and the front of the best", run_plot),
    }
    for (name, (what, run)), example in zip(told.items(), EXAMPLES, strict=True):
        part = command(actions, name, what, "", (example,))
        part.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="folder (%(default)s)")
        if name == "show":
            part.add_argument("record", help="the first digits of its id (4 or more), or its file")
        elif name != "list":
            least = "+" if name == "compare" else "*"
            part.add_argument("records", nargs=least, metavar="RECORD", help="ids or files; all unless given")
            part.add_argument(
                "--allow", action="append", default=[], metavar="FIELD", help="a field that you know to differ"
            )
        if name in ("compare", "table"):
            part.add_argument("--metrics", type=names, metavar="A,B", help="these alone")
        if name == "plot":
            part.add_argument("--x", default="cost.passes", help="a field or metric (%(default)s)")
            part.add_argument("--y", default="frechet_projected", help="a metric or field (%(default)s)")
            add_out(part, "picture to write, .svg or .png (%(default)s)", "pareto.svg")
        if name != "table":
            add_json(part)
        part.set_defaults(run=run)


def run_list(args: argparse.Namespace) -> int:
    from parvis.evaluate.record import load_all
    from parvis.output import format_table

    records = load_all(args.results)
    if args.json:
        print_json([_brief(record) for record in records])
        return 0
    head = ("id", "made", "kind", "model", "pictures", "reference", "features", "frechet")
    print(format_table(head, [tuple(_brief(record).values()) for record in records]))
    return 0


def run_show(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from parvis.evaluate.record import flat, load_all, pick

    record = pick(load_all(args.results), args.record)
    content = {"id": record.id, **asdict(record)}
    if args.json:
        print_json(content)
        return 0
    facts = flat(content)
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {'; '.join(map(str, value)) if isinstance(value, list | tuple) else value}")
    return 0


def run_compare(args: argparse.Namespace) -> int:
    from parvis.evaluate.record import check_alike, load_all, pick
    from parvis.output import format_table

    known = load_all(args.results)
    records = [pick(known, given) for given in args.records]
    if len(records) < 2:
        raise UsageError("one record has nothing to compare with; give two or more")
    check_alike(records, args.allow)
    metrics = _metrics(records, args.metrics)
    if args.json:
        print_json([{**_brief(r), "metrics": {m: r.metrics.get(m) for m in metrics}} for r in records])
        return 0
    heads = ["metric", *(f"{record.name} {record.id[:6]}" for record in records), "real against real"]
    rows = [[name, *(_told(r, name) for r in records), _floor(records, name)] for name in metrics]
    print(format_table(heads, rows))
    for line in _apart(records):
        print(line)
    return 0


def run_table(args: argparse.Namespace) -> int:
    records, left = _alike(args)
    metrics = _metrics(records, args.metrics)
    print("| model | settings | passes | pictures |", " | ".join(metrics), "| record |")
    print("|" + " --- |" * (len(metrics) + 5))
    for record in records:
        settings = ", ".join(f"{key} {value}" for key, value in record.settings.items() if value is not None)
        cells = [record.name, settings, record.value("cost.passes") or "", record.value("samples.count")]
        print(
            "|", " | ".join(str(cell) for cell in [*cells, *(_told(record, m) for m in metrics), record.id[:12]]), "|"
        )
    _say_left(left)
    return 0


def run_plot(args: argparse.Namespace) -> int:
    from parvis.evaluate.measure import BETTER
    from parvis.evaluate.plot import Point, front, save, scatter

    check_suffix(args.out, (".svg", ".png"))
    records, left = _alike(args)
    points = []
    for record in records:
        x, y = record.value(args.x), record.value(args.y)
        if isinstance(x, int | float) and isinstance(y, int | float):
            company = record.metrics.get(args.y, {})
            label = f"{record.name}, {record.value('cost.passes') or '?'} passes"
            points.append(Point(x, y, label, record.name, company.get("low"), company.get("high")))
    if not points:
        raise UsageError(
            f"none of {len(records)} records has both {args.x!r} and {args.y!r}; `parvis results show` says what they "
            "have"
        )
    better = BETTER.get(args.y, -1)
    net, count = records[0].features.get("name", "?"), records[0].samples.get("count", "?")
    save(args.out, scatter(points, f"{count} pictures, {net}", args.x, args.y, better))
    if args.json:
        best = [point.label for point in front(points, better)]
        print_json({"file": str(args.out), "points": len(points), "front": best, "left_out": [r.id[:12] for r in left]})
        return 0
    print(f"{len(points)} points -> {args.out}")
    _say_left(left)
    return 0


def _alike(args: argparse.Namespace) -> tuple[list[Record], list[Record]]:
    """Those that were named, all of which must compare; or all that compare with the first, and those that do not."""
    from parvis.evaluate.record import check_alike, differences, load_all, pick

    known = load_all(args.results)
    if args.records:
        records = [pick(known, given) for given in args.records]
        check_alike(records, args.allow)
        return records, []
    if not known:
        raise UsageError(f"{args.results} holds no records; `parvis evaluate` writes them")
    same = [record for record in known if not differences(known[0], record, args.allow)]
    return same, [record for record in known if record not in same]


def _say_left(left: Sequence[Record]) -> None:
    if left:
        import warnings

        told = ", ".join(record.id[:12] for record in left)
        warnings.warn(f"left out, because they do not compare with the first: {told}", UserWarning, stacklevel=2)


def _metrics(records: Sequence[Record], wanted: Sequence[str] | None) -> list[str]:
    from parvis.errors import UnknownName

    there = list(dict.fromkeys(name for record in records for name in record.metrics))
    for name in wanted or ():
        if name not in there:
            raise UnknownName("metric", name, there)
    return list(wanted or there)


def _brief(record: Record) -> dict[str, Any]:
    frechet = record.metrics.get("frechet_projected", record.metrics.get("frechet", {})).get("value")
    return {
        "id": record.id[:12],
        "made": record.made[:16],
        "kind": record.kind,
        "model": record.name,
        "pictures": record.samples.get("count"),
        "reference": record.reference.get("name"),
        "features": record.features.get("name"),
        "frechet": None if frechet is None else float(f"{frechet:.4g}"),
    }


def _told(record: Record, metric: str) -> str:
    one = record.metrics.get(metric)
    if one is None:
        return "-"
    if one.get("low") is not None and one.get("high") is not None:
        return f"{one['value']:.4g} ({one['low']:.4g} to {one['high']:.4g})"
    return f"{one['value']:.4g}" + (f" +-{one['spread']:.2g}" if one.get("spread") is not None else "")


def _floor(records: Sequence[Record], metric: str) -> str | None:
    found = next((r.metrics[metric].get("floor") for r in records if metric in r.metrics), None)
    return None if found is None else f"{found:.4g}"


def _apart(records: Sequence[Record]) -> list[str]:
    """In what models and settings differ: what the numbers are about."""
    from parvis.evaluate.record import flat

    parts = [flat({"model": dict(r.model), "settings": dict(r.settings)}) for r in records]
    keys = dict.fromkeys(key for part in parts for key in part)
    lines = []
    for key in keys:
        values = [part.get(key) for part in parts]
        if len({str(value) for value in values}) > 1:
            lines.append(f"{key}: {' | '.join(str(value)[:40] for value in values)}")
    return lines
