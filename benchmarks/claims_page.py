"""docs/results.md from the records of benchmarks/claims.py: nothing on the page is typed in but its explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parvis.errors import UsageError
from parvis.evaluate.plot import Point, save, scatter
from parvis.evaluate.record import Record, check_alike
from parvis.files import write_bytes

DISTANCE = "frechet_projected"
USUAL = {"lpd": 10, "arpg": 10, "randar": 10, "mar": 16, "xar": 10, "maskgit": 8}
TITLES = {
    "raster": "raster (LlamaGen)", "par-4": "PAR, 4 together", "par-16": "PAR, 16 together", "nar": "NAR",
    "arpg": "ARPG", "randar": "RandAR", "lpd": "LPD", "mar": "MAR", "xar": "xAR", "var": "VAR",
    "maskgit": "MaskGIT (baseline)", "lpd-apart": "LPD, queries blind to each other",
    "par-4-at-once": "PAR without tokens one by one", "par-4-adjacent": "PAR over neighbours",
    "par-4-causal": "PAR, causal inside groups",
}  # fmt: skip
FAMILIES = tuple(TITLES)[:11]


@dataclass(frozen=True)
class Key:
    """What a record was sampled as."""

    run: str
    steps: int = 0
    order: str = ""


class Page:
    """The records by what they are of."""

    def __init__(self, records: Sequence[Record]) -> None:
        samples = [r for r in records if r.kind == "samples"]
        if not samples:
            raise UsageError("there are no records of samples; run `python benchmarks/claims.py measure` first")
        count = max(r.samples["count"] for r in samples)
        self.samples = [r for r in samples if r.samples["count"] == count]
        self.swept = [r for r in samples if r.samples["count"] != count]
        check_alike(self.samples)
        self.by_key = {Key(r.name, r.settings.get("steps", 0), r.settings.get("order", "")): r for r in self.samples}
        self.times = {(r.name, r.settings["steps"], r.settings["batch"]): r for r in records if r.kind == "latency"}

    def usual(self, run: str) -> Record | None:
        return self.by_key.get(Key(run, USUAL.get(run, 0)))

    def seconds(self, r: Record, batch: int) -> str:
        found = self.times.get((r.name, r.settings.get("steps", 0), batch))
        return "" if found is None else f"{found.value('seconds') / batch:.3f}"


def value(r: Record, metric: str = DISTANCE) -> float:
    return float(r.metrics[metric]["value"])


def bounds(r: Record) -> tuple[float, float]:
    one = r.metrics[DISTANCE]
    return float(one["low"]), float(one["high"])


def said(r: Record) -> str:
    low, high = bounds(r)
    return f"{value(r):.2f} ({low:.2f} to {high:.2f})"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows), ""]


def row(page: Page, r: Record, title: str = "") -> list[object]:
    shares = [f"{value(r, name):.3f}" for name in ("precision", "recall", "own_class")]
    guidance = r.settings.get("guidance", "")
    name = title or TITLES.get(r.name, r.name)
    return [name, r.cost["passes"], guidance, said(r), *shares, page.seconds(r, 1), page.seconds(r, 16)]


HEAD = (
    "", "passes", "guidance", "Frechet (95 %)", "precision", "recall", "own class", "s / picture, alone", "in 16",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A published claim: ``ours`` should have a distance that is lower than, or not above, that of ``theirs``."""

    text: str
    ours: Key
    theirs: Key
    lower: bool
    """Whether the claim is of less distance; else of as little in fewer passes."""


def _lpd(steps: int, order: str = "") -> Key:
    return Key("lpd", steps, order)


CLAIMS = (
    Claim("LPD in 10 passes is as good as raster in 64", _lpd(10), Key("raster"), False),
    Claim("LPD in 6 passes is as good as raster in 64", _lpd(6), Key("raster"), False),
    Claim("PAR, 4 together, is as good as raster", Key("par-4"), Key("raster"), False),
    Claim("PAR, 16 together, is as good as raster", Key("par-16"), Key("raster"), False),
    Claim("NAR is as good as raster", Key("nar"), Key("raster"), False),
    Claim("ARPG in 10 passes is as good as raster", Key("arpg", 10), Key("raster"), False),
    Claim("RandAR in 10 passes is as good as raster", Key("randar", 10), Key("raster"), False),
    Claim("VAR in 6 passes is better than raster", Key("var"), Key("raster"), True),
    Claim("LPD is better than ARPG, both in 10 passes", _lpd(10), Key("arpg", 10), True),
    Claim("LPD is better than RandAR, both in 10 passes", _lpd(10), Key("randar", 10), True),
    Claim("LPD is better than MaskGIT, both in 8 passes", _lpd(8), Key("maskgit", 8), True),
    Claim("LPD's order is better than a random one, 10 passes", _lpd(10), _lpd(10, "random"), True),
    Claim("LPD's order is better than a random one, 6 passes", _lpd(6), _lpd(6, "random"), True),
    Claim("both principles are better than proximity alone, 10 passes", _lpd(10), _lpd(10, "proximity"), True),
    Claim("both principles are better than proximity alone, 6 passes", _lpd(6), _lpd(6, "proximity"), True),
    Claim("both principles are better than repulsion alone, 10 passes", _lpd(10), _lpd(10, "repulsion"), True),
    Claim("both principles are better than repulsion alone, 6 passes", _lpd(6), _lpd(6, "repulsion"), True),
    Claim("queries that see each other are better than blind ones, 10 passes", _lpd(10), Key("lpd-apart", 10), True),
    Claim("queries that see each other are better than blind ones, 6 passes", _lpd(6), Key("lpd-apart", 6), True),
    Claim("groups that grow are better than equal ones, 10 passes", _lpd(10), _lpd(10, "equal groups"), True),
    Claim("groups that grow are better than equal ones, 6 passes", _lpd(6), _lpd(6, "equal groups"), True),
    Claim("PAR's first tokens one by one are better than all at once", Key("par-4"), Key("par-4-at-once"), True),
    Claim("PAR's distant tokens are better together than neighbours", Key("par-4"), Key("par-4-adjacent"), True),
    Claim("PAR's groups that see themselves are better than causal ones", Key("par-4"), Key("par-4-causal"), True),
)  # fmt: skip


def verdict(ours: Record, theirs: Record, lower: bool) -> str:
    """By the 95 % intervals: apart, or not told apart."""
    (a, b), (c, d) = bounds(ours), bounds(theirs)
    if b < c:
        return "**holds**" if lower else "**holds**, and is better"
    if a > d:
        return "**does not hold**: it is worse"
    return "not told apart" if lower else "not told apart, as it says"


def claims(page: Page) -> list[str]:
    rows = []
    for claim in CLAIMS:
        ours, theirs = page.by_key.get(claim.ours), page.by_key.get(claim.theirs)
        if ours is not None and theirs is not None:
            rows.append([claim.text, said(ours), said(theirs), verdict(ours, theirs, claim.lower)])
    return table(("claim", "distance", "of the other", "at this scale"), rows)


def steps(page: Page) -> list[str]:
    rows = []
    for run in FAMILIES:
        found = sorted((k.steps, r) for k, r in page.by_key.items() if k.run == run and not k.order)
        if len(found) > 1:
            rows.append([TITLES[run], "; ".join(f"{r.cost['passes']}: {value(r):.2f}" for _, r in found)])
    return table(("", "passes: distance"), rows)


def ablations(page: Page) -> list[str]:
    rows = []
    for key, r in page.by_key.items():
        if key.order or key.run not in FAMILIES:
            if key.run.startswith("real"):
                continue
            title = TITLES[key.run] + (f", {key.order}" if key.order else "")
            rows.append(row(page, r, title)[:7])
    return table(HEAD[:7], rows)


def plots(page: Page, folder: Path) -> None:
    points = {"passes": [], "seconds": []}  # type: dict[str, list[Point]]
    for key, r in page.by_key.items():
        if key.run not in FAMILIES or key.order:
            continue
        low, high = bounds(r)
        label = f"{key.run} {r.cost['passes']}"
        points["passes"].append(Point(r.cost["passes"], value(r), label, key.run, low, high))
        if page.seconds(r, 1):
            points["seconds"].append(Point(float(page.seconds(r, 1)), value(r), label, key.run, low, high))
    for name, found in points.items():
        if found:
            across = "passes of the transformer" if name == "passes" else "seconds for one picture, alone"
            save(folder / f"results-{name}.png", scatter(found, f"Distance against {name}", across, "Frechet distance"))


INTRODUCTION = """\
# The field's claims on equal terms

Papers on parallel generation differ in size, training, steps, evaluator and machine, so their figures cannot be laid
side by side. Here every family is trained and measured alike. This page is written by
`python benchmarks/claims.py page` from the records in `results/fashion`; that file says how to make them again.

## What was done

- **Data.** Fashion-MNIST (60,000 + 10,000 grey pictures, 10 classes), 32 x 32, 4 x 4 pixels a token: 64 tokens (VAR:
  130 over six scales). Three tokenizers: codes (512), codes of several scales (512), latents (4 channels).
- **Training.** {families} families of {least:.2f} to {most:.2f} million parameters, width 160; the same 22,400 pictures
  in the same order, the same optimizer, rate, averaging and share of dropped classes (`recipes/fashion.py`). One
  training each.
- **Measuring.** {count:,} pictures of each, classes alike, temperature 1, nothing cut from the laws; guidance chosen
  for each family among {scales} on other pictures. Frechet distance to the 10,000 test pictures in the 64
  principal directions of the features of a classifier trained on the training split (accuracy {accuracy}); precision
  and recall with k = 3; "own class": the share in which that classifier sees the class that was asked for.
- **Uncertainty.** The intervals are a bootstrap over pictures. They do not hold the chance of training: one seed, one
  run each. Two halves of the real test pictures have a distance of {halves:.2f}.
- **Time.** {machine}, PyTorch {torch}, float32; medians of turns in one run, pixels included.
"""
END = """\
## What this does not say

Small models after few pictures, 64 tokens, grey clothes: what needs many tokens, long training or colour cannot show
here. MAR and xAR stand on another tokenizer than the rest, and VAR on a third: compare each with its own floor first.
"""


def introduction(page: Page) -> str:
    first = page.samples[0]
    machine = next((r.machine for r in page.times.values()), first.machine)
    families = [r for run in FAMILIES if (r := page.usual(run)) is not None]
    sizes = [r.model["parameters"] / 1e6 for r in families]
    scales = sorted({r.settings["guidance"] for r in page.swept})
    return INTRODUCTION.format(
        families=len(families),
        least=min(sizes),
        most=max(sizes),
        count=first.samples["count"],
        scales=", ".join(map(str, scales)),
        accuracy=first.features.get("accuracy on the test split", "?"),
        halves=first.metrics[DISTANCE]["floor"],
        machine=f"{machine.get('processor', '?')}, {machine.get('threads', '?')} threads",
        torch=first.versions.get("torch", "?"),
    )


def edge(page: Page, families: Sequence[Record]) -> list[str]:
    """Who might have liked more guidance than was tried."""
    most = max((r.settings["guidance"] for r in page.swept), default=None)
    found = [TITLES[r.name] for r in families if r.settings["guidance"] == most]
    if not found:
        return []
    names = "; ".join(found)
    return [f"{most} is the most guidance that was tried, and the choice of {names}: more might suit them better.", ""]


def write_page(records: Sequence[Record], out: Path) -> Path:
    """Write the page and, beside it, ``images/results-*.png``."""
    page = Page(records)
    plots(page, out.parent / "images")
    families = [r for run in FAMILIES if (r := page.usual(run)) is not None]
    measured = {key.run for key in page.by_key}
    missing = [title for run, title in TITLES.items() if run not in measured]
    floors = [r for r in page.samples if r.name.startswith("real")]
    text = [
        introduction(page),
        *([f"Not measured: {'; '.join(missing)}.", ""] if missing else []),
        "## The families at their usual number of passes",
        "",
        *table(HEAD, [row(page, r) for r in families]),
        *edge(page, families),
        "What the tokenizers allow: real training pictures as they are, and through each tokenizer.",
        "",
        *table(HEAD[:7], [row(page, r)[:7] for r in floors]),
        "![Distance against passes](images/results-passes.png)",
        "",
        *(["![Distance against seconds](images/results-seconds.png)", ""] if page.times else []),
        "## More and fewer passes",
        "",
        *steps(page),
        "## Claims",
        "",
        '"Holds" and "does not hold" mean that the two 95 % intervals do not overlap; "not told apart" that they do.',
        "",
        *claims(page),
        "## Ablations",
        "",
        "LPD's model in other orders and groups (it is trained on random orders, so it needs no other training), and",
        "runs that were trained without a part.",
        "",
        *ablations(page),
        END,
    ]
    return write_bytes(out, "\n".join(text).encode())
