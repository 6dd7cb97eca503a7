"""What of a checkpoint fits a module, judged by names and shapes alone: nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Size

from parvis.errors import WeightsError
from parvis.weights.keys import KeyMap


@dataclass(frozen=True)
class Match:
    """What became of the names of a checkpoint, each list sorted.

    Attributes:
        part: ``model`` or ``tokenizer``. source: the file. group: which of its dictionaries.
        matched: (their name, our name). reshaped: (their name, shape, our shape), of those matched the ones that differ
            by axes of length one. stretched: (their name, shape, our shape), interpolated to another resolution.
        dropped: their names of what is computed here. missing: our names. unexpected: their names.
        misshaped: (their name, shape, the shape needed).
    """

    part: str
    source: str
    group: str
    matched: tuple[tuple[str, str], ...]
    reshaped: tuple[tuple[str, Size, Size], ...] = ()
    stretched: tuple[tuple[str, Size, Size], ...] = ()
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshaped: tuple[tuple[str, Size, Size], ...] = ()

    @property
    def complete(self) -> bool:
        """Everything needed is there, and nothing that is there is unexplained."""
        return not (self.missing or self.unexpected or self.misshaped)

    def require_complete(self, hint: str = "") -> None:
        """Raise WeightsError naming what does not fit, up to three of each kind, unless everything does."""
        if self.complete:
            return
        parts = [
            f"{len(names)} {kind} ({', '.join(name[:80] for name in names[:3])})"
            for kind, names in (("missing", self.missing), ("unexpected", self.unexpected))
            if names
        ]
        if self.misshaped:
            name, given, needed = self.misshaped[0]
            parts.append(f"{len(self.misshaped)} of another shape ({name} {list(given)}, needed {list(needed)})")
        raise WeightsError(
            f"{self.source}: {', '.join(parts)} in {self.group}; {hint or 'are these the right weights?'}"
        )

    def to_json(self) -> dict[str, object]:
        """The whole report as what JSON can hold."""
        shapes = {
            kind: [{"name": name, "given": list(given), "needed": list(needed)} for name, given, needed in triples]
            for kind, triples in (
                ("reshaped", self.reshaped),
                ("stretched", self.stretched),
                ("misshaped", self.misshaped),
            )
        }
        return {
            "part": self.part,
            "source": self.source,
            "group": self.group,
            "complete": self.complete,
            "matched": dict(self.matched),
            "dropped": list(self.dropped),
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            **shapes,
        }


def match(
    key_map: KeyMap, found: Mapping[str, Size], needed: Mapping[str, Size], *, part: str = "", source: str = "",
    group: str = "",
) -> Match:  # fmt: skip
    """How the names and shapes ``found`` in a checkpoint serve what a module ``needed``."""
    matched, reshaped, dropped, unexpected, misshaped = [], [], [], [], []
    for theirs, shape in found.items():
        if key_map.drops(theirs):
            dropped.append(theirs)
            continue
        ours = key_map.ours(theirs)
        if ours is None or ours not in needed:
            unexpected.append(theirs)
            continue
        matched.append((theirs, ours))
        if [n for n in shape if n != 1] != [n for n in needed[ours] if n != 1]:
            misshaped.append((theirs, shape, needed[ours]))
        elif shape != needed[ours]:
            reshaped.append((theirs, shape, needed[ours]))
    missing = sorted(set(needed) - {ours for _, ours in matched})
    return Match(
        part, source, group, tuple(sorted(matched)), tuple(sorted(reshaped)), (), tuple(sorted(dropped)),
        tuple(missing), tuple(sorted(unexpected)), tuple(sorted(misshaped)),
    )  # fmt: skip
