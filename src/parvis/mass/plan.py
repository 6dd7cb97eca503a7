"""What is to be drawn: ``plan.json`` of a folder of samples.

Picture ``i`` has the seed ``seed + i`` and a class or caption that depends on ``i`` alone. So a plan says everything,
whoever carries it out, and a longer plan begins with the shorter one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parvis.errors import DataError, UsageError
from parvis.files import write_bytes

FILE = "plan.json"
VERSION = 1
CONDITIONS = ("balanced", "random", "captions")
FORMATS = ("npz", "png")


@dataclass(frozen=True)
class Plan:
    """``count`` pictures of one model.

    Attributes:
        source: the name or folder that the model is loaded from. model: its name, system and the sums of its files.
        settings: steps, order, guidance, temperature, top_k, top_p, precision, nothing left open.
        conditions: ``balanced``, picture i is of class i modulo ``classes``; ``random``, of a class drawn for i;
            ``captions``, of caption i modulo their number.
        block: pictures that are drawn and written together. formats: of :data:`FORMATS`.
    """

    source: str
    count: int
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    conditions: str
    classes: int
    captions: tuple[str, ...]
    height: int
    width: int
    block: int = 64
    formats: tuple[str, ...] = ("npz",)

    def __post_init__(self) -> None:
        if self.count < 1 or self.block < 1 or self.seed < 0:
            raise UsageError(
                f"{self.count} pictures in blocks of {self.block} from seed {self.seed}: give 1 or more, and a seed of "
                "0 or more"
            )
        if self.conditions not in CONDITIONS or not self.formats or set(self.formats) - set(FORMATS):
            raise UsageError(
                f"conditions are one of {', '.join(CONDITIONS)} and formats of {', '.join(FORMATS)}; got "
                f"{self.conditions!r} and {list(self.formats)}"
            )
        if not (self.captions if self.conditions == "captions" else self.classes):
            raise UsageError(f"{self.conditions} conditions need {'captions' * (self.classes == 0) or 'classes'}")

    def seed_of(self, index: int) -> int:
        return self.seed + index

    def label(self, index: int) -> int | None:
        """The class of picture ``index``; ``None`` where it has a caption."""
        if self.conditions == "captions":
            return None
        if self.conditions == "balanced":
            return index % self.classes
        drawn = hashlib.sha256(f"class {self.seed_of(index)}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") % self.classes

    def prompt(self, index: int) -> str | int:
        label = self.label(index)
        return self.captions[index % len(self.captions)] if label is None else label

    def labels(self) -> list[int] | None:
        """Of all pictures; ``None`` where they have captions."""
        found = [self.label(i) for i in range(self.count)]
        return [label for label in found if label is not None] or None

    def blocks(self) -> list[tuple[int, int]]:
        """(first, one past the last) of every block."""
        return [(low, min(low + self.block, self.count)) for low in range(0, self.count, self.block)]

    @property
    def key(self) -> str:
        """The sum of everything that decides a picture, and of how they are cut into blocks."""
        decides = {**asdict(self), "source": None, "count": None, "formats": None}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def write_plan(out: Path, plan: Plan) -> Plan:
    """Write ``plan.json``, or go on with the one that is there: with more pictures or other formats, if asked.

    :raises UsageError: the folder holds other pictures, or more of them
    """
    if (out / FILE).exists():
        old = read_plan(out)
        if old.key != plan.key:
            mine, others = asdict(plan), asdict(old)
            unlike = [k for k in mine if mine[k] != others[k] and k not in ("source", "count", "formats")]
            told = "; ".join(f"{k}: {_short(others[k])} there, {_short(mine[k])} asked" for k in unlike)
            raise UsageError(f"{out} holds other samples ({told}); give another folder with -o, or the same settings")
        if old.count > plan.count:
            raise UsageError(f"{out} holds {old.count} pictures, {plan.count} are asked; give another folder with -o")
        plan = replace(plan, formats=tuple(f for f in FORMATS if f in (*plan.formats, *old.formats)))
    elif out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise UsageError(f"{out} holds something, but no samples; give an empty folder, or a new one")
    content = {"format": "parvis-samples", "version": VERSION, "key": plan.key, **asdict(plan)}
    write_bytes(out / FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return plan


def read_plan(out: Path) -> Plan:
    """:raises DataError: there is none, or it was changed"""
    path = out / FILE
    try:
        content = json.loads(path.read_bytes())
        form, version, key = (content.pop(name) for name in ("format", "version", "key"))
        if (form, version) != ("parvis-samples", VERSION):
            raise ValueError(f"format {form!r}, version {version!r}")
        for name in ("captions", "formats"):
            content[name] = tuple(content[name])
        plan = Plan(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is no plan of samples ({error}); `parvis sample` writes one") from error
    if plan.key != key:
        raise DataError(f"{path} was changed after it was written; draw into another folder")
    return plan


def read_captions(path: Path) -> tuple[str, ...]:
    """One caption a line; of a ``.jsonl`` file its ``text``, ``caption`` or ``prompt``. Empty lines are passed over.

    :raises DataError: no such file, or no captions in it
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in lines]
            lines = [next(str(row[key]) for key in ("text", "caption", "prompt") if key in row) for row in rows]
    except (OSError, ValueError, TypeError, StopIteration) as error:
        raise DataError(f"{path} holds no captions ({error or 'a line without text'}); give one a line") from error
    if not lines:
        raise DataError(f"{path} is empty; give one caption a line")
    return tuple(lines)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
