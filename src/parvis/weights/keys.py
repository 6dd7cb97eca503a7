"""Maps between the authors' parameter names and ours, as a list of patterns that is read in both directions.

    KeyMap(
        rules=(("blocks.{i}.attn.qkv.{leaf}", "blocks.{i}.attention.qkv.{leaf}"),
               ("token_emb.weight", "tokens.weight"),
               ("decoder.{path}", "tokenizer.decoder.{path}")),
        drop=("freqs_cis", "blocks.{i}.attn.mask"),      # derived buffers: computed here, not loaded
    )

A field of one letter, ``{i}``, stands for a whole number; ``{leaf}`` (any longer name) for one part between dots;
``{path}`` for any number of parts. Both sides of a rule have the same fields. Of several rules that fit, the first
counts; a map for which that loses a name is not a bijection, and :func:`is_bijection` says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from torch import Size, Tensor

from parvis.errors import WeightsError

_FIELD = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True)
class KeyReport:
    """What became of the names, each list sorted.

    Attributes:
        matched: (their name, our name). dropped: theirs that a ``drop`` pattern names.
        missing: ours that were expected and not given. unexpected: theirs that no rule names, or that ours do not know.
        reshaped: our name, shape given, shape expected; only axes of length one were added or removed.
    """

    matched: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[tuple[str, Size, Size], ...]

    @property
    def complete(self) -> bool:
        """Nothing missing and nothing unexpected."""
        return not self.missing and not self.unexpected

    def require_complete(self, source: str) -> None:
        """Raise :class:`WeightsError` naming up to three keys of each kind, unless the report is complete."""
        if self.complete:
            return
        kinds = (("missing", self.missing), ("unexpected", self.unexpected))
        parts = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in kinds if names]
        raise WeightsError(f"{source}: {' and '.join(parts)} keys; are these weights of this system and size?")


@dataclass(frozen=True)
class KeyMap:
    """Rules ``(their pattern, our pattern)`` and patterns of their names to ``drop``; see the head of this file.

    ``lead``: (their name, n) where their tensor has n more axes of length one in front than ours.
    """

    rules: tuple[tuple[str, str], ...]
    drop: tuple[str, ...] = ()
    lead: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        for theirs, ours in self.rules:
            assert _fields(theirs) == _fields(ours), f"{theirs!r} and {ours!r} have different fields"

    def ours(self, theirs: str) -> str | None:
        """Our name for one of theirs; ``None`` if no rule names it or it is dropped."""
        return None if self.drops(theirs) else _rename(theirs, self.rules)

    def theirs(self, ours: str) -> str | None:
        """Their name for one of ours; ``None`` if no rule names it."""
        return _rename(ours, tuple((to, source) for source, to in self.rules))

    def drops(self, theirs: str) -> bool:
        """Whether a ``drop`` pattern names it."""
        return any(_compile(pattern).fullmatch(theirs) for pattern in self.drop)

    def apply(
        self, state: Mapping[str, Tensor], shapes: Mapping[str, Iterable[int]] | None = None
    ) -> tuple[dict[str, Tensor], KeyReport]:
        """Their state dict under our names.

        ``shapes`` says which of our names are expected, and their shapes: a tensor that differs only by axes of length
        one is reshaped, any other difference raises :class:`WeightsError`, as do two names that become one.
        """
        named = {key: self.ours(key) for key in state if not self.drops(key)}
        return _rename_state(state, named, shapes, tuple(sorted(key for key in state if self.drops(key))))

    def invert(
        self, state: Mapping[str, Tensor], shapes: Mapping[str, Iterable[int]] | None = None
    ) -> tuple[dict[str, Tensor], KeyReport]:
        """Our state dict under their names; as :meth:`apply` with the sides exchanged. What they drop is not made."""
        theirs, report = _rename_state(state, {key: self.theirs(key) for key in state}, shapes, ())
        for name, axes in self.lead:
            if name in theirs and shapes is None:
                theirs[name] = theirs[name][(None,) * axes]
        return theirs, report


def is_bijection(key_map: KeyMap, target_keys: Iterable[str]) -> bool:
    """Whether every one of our ``target_keys`` has a name of theirs of its own that leads back to it."""
    back = {key: key_map.theirs(key) for key in target_keys}
    found = [theirs for theirs in back.values() if theirs is not None]
    return len(set(found)) == len(back) and all(theirs and key_map.ours(theirs) == key for key, theirs in back.items())


def _rename_state(
    state: Mapping[str, Tensor],
    named: Mapping[str, str | None],
    shapes: Mapping[str, Iterable[int]] | None,
    dropped: tuple[str, ...],
) -> tuple[dict[str, Tensor], KeyReport]:
    tensors: dict[str, Tensor] = {}
    matched, unexpected, reshaped = [], [], []
    for source, target in named.items():
        if target is None or (shapes is not None and target not in shapes):
            unexpected.append(source)
            continue
        if target in tensors:
            raise WeightsError(f"two tensors become {target!r}, one of them {source!r}; are both versions in one file?")
        tensor = state[source]
        if shapes is not None and tensor.shape != (shape := Size(shapes[target])):
            if [n for n in tensor.shape if n != 1] != [n for n in shape if n != 1]:
                raise WeightsError(
                    f"{source!r} has shape {list(tensor.shape)}, {target!r} needs {list(shape)}; "
                    "are these weights of this system and size?"
                )
            reshaped.append((target, tensor.shape, shape))
            tensor = tensor.reshape(shape)
        tensors[target] = tensor
        matched.append((source, target))
    missing = sorted(set(shapes or ()) - set(tensors))
    report = KeyReport(
        matched=tuple(sorted(matched)),
        dropped=dropped,
        missing=tuple(missing),
        unexpected=tuple(sorted(unexpected)),
        reshaped=tuple(sorted(reshaped)),
    )
    return tensors, report


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    for source, target in rules:
        if match := _compile(source).fullmatch(name):
            return _FIELD.sub(lambda field, match=match: match[field[1]], target)  # type: ignore[misc]
    return None


def _fields(pattern: str) -> list[str]:
    return sorted(_FIELD.findall(pattern))


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> re.Pattern[str]:
    literals = _FIELD.split(pattern)  # literal, field, literal, field, ..., literal
    parts = [re.escape(part) if i % 2 == 0 else f"(?P<{part}>{_field(part)})" for i, part in enumerate(literals)]
    return re.compile("".join(parts))


def _field(name: str) -> str:
    if name == "path":
        return r".+"
    return r"\d+" if len(name) == 1 else r"[^.]+"
