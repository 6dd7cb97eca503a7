"""Records: one measurement with everything that is needed to read it, to repeat it, or to refuse to compare it.

A record is one JSON file, ``NAME-KIND-ID.json``, written whole or not at all. Its id is the SHA-256 of its content, so
a record that was edited is seen to be. Two records compare only where nothing but the model and its settings differs:
:func:`differences` names every other field.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parvis.errors import DataError, UnknownName, UsageError
from parvis.files import write_bytes

SCHEMA = 1
LARGEST = 1 << 22
FIXED = ("schema", "kind", "samples", "reference", "features", "protocol")
"""What two records must have in common; a model, its settings, its cost and the machine may differ."""
FREE = ("samples.seeds", "samples.sha256", "samples.name", "reference.name")
"""Of these, what may differ all the same: other seeds draw other pictures; a name is what a file was called."""


@dataclass(frozen=True)
class Record:
    """One measurement. All values are what JSON can hold.

    Attributes:
        kind: what was measured, e.g. ``samples`` or ``tokenizer``.
        model: name, system, sums of its files (``files``), parameters. settings: what it was sampled with.
        samples: ``count``, ``size``, ``seeds``, what they were asked for (``conditions``), ``sha256`` of the pixels.
        reference: ``name``, ``sha256``, ``count``, ``size``. features: of the net: ``name``, ``version``, ``sha256``.
        protocol: what the metrics leave open. metrics: name -> ``value`` and its company (``evaluate/measure.py``).
        cost: passes, seconds for a picture. machine, versions, made (UTC): where and when. notes: warnings.
    """

    kind: str
    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    samples: Mapping[str, Any]
    reference: Mapping[str, Any]
    features: Mapping[str, Any]
    protocol: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    cost: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    notes: Sequence[str] = ()
    schema: int = SCHEMA

    @property
    def id(self) -> str:
        """64 hexadecimal digits; the first 12 are enough to name it."""
        return hashlib.sha256(_canonical(asdict(self))).hexdigest()

    @property
    def name(self) -> str:
        return str(self.model.get("name", "unnamed"))

    @property
    def file(self) -> str:
        """What :func:`save` calls it."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.name).strip('-') or 'unnamed'}-{self.kind}-{self.id[:12]}.json"

    def value(self, path: str) -> Any:
        """``frechet`` (a metric's value) or a dotted field such as ``cost.passes``; ``None`` where it has none."""
        if path in self.metrics:
            return self.metrics[path].get("value")
        return flat(asdict(self)).get(path)


def save(record: Record, folder: Path) -> Path:
    """Write it into ``folder``. Raises OutputError if that cannot be, UsageError for what JSON does not hold."""
    content = {"id": record.id, **asdict(record)}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return write_bytes(folder / record.file, (text + "\n").encode())


def load(path: Path) -> Record:
    """:raises DataError: no record, of another schema, or one that was changed after it was written"""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        content = json.loads(path.read_bytes())
        said = content.pop("id")
        schema = content.get("schema")
        if schema != SCHEMA:
            raise DataError(
                f"{path} has schema {schema!r}, this Parvis reads {SCHEMA}; read it with the one that wrote it"
            )
        record = Record(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no record of a measurement ({type(error).__name__}: {error})") from error
    for one in fields(Record):
        value = getattr(record, one.name)
        if one.type.startswith("Mapping") and not isinstance(value, dict):
            raise DataError(f"{path} is no record of a measurement: {one.name!r} is no object")
    if record.id != said:
        raise DataError(
            f"{path} was changed after it was written: its content has the id {record.id[:12]}; measure again"
        )
    return record


def load_all(folder: Path) -> list[Record]:
    """Every record of ``folder``, oldest first; other JSON files are passed over.

    :raises DataError: no such folder, or a record that is damaged
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of results; `parvis evaluate` writes records into one")
    found = [load(path) for path in sorted(folder.glob("*-*-*.json")) if re.search(r"-[0-9a-f]{12}\.json$", path.name)]
    return sorted(found, key=lambda record: (record.made, record.id))


def pick(records: Sequence[Record], given: str) -> Record:
    """The record whose id begins with ``given``, or whose file is called so.

    :raises UnknownName: there is none. UsageError: there are several
    """
    name = Path(given).name
    found = [one for one in records if one.file == name or (len(given) >= 4 and one.id.startswith(given))]
    if len(found) > 1:
        raise UsageError(f"{given!r} begins the ids of {len(found)} records; give more of it")
    if not found:
        raise UnknownName("record", given, [one.id[:12] for one in records])
    return found[0]


def differences(a: Record, b: Record, allow: Sequence[str] = ()) -> list[tuple[str, Any, Any]]:
    """In what two records differ that must be equal: field, of ``a``, of ``b``; ``allow`` names fields, or their
    sections, that the caller knows to differ.

    :raises UnknownName: ``allow`` names a field that neither has
    """
    mine, others = (dict(_fixed(record)) for record in (a, b))
    known = set(mine) | set(others)
    for name in allow:
        if not any(_within(field, name) for field in known):
            raise UnknownName("field", name, known)
    return [
        (name, mine.get(name), others.get(name))
        for name in sorted(known)
        if mine.get(name) != others.get(name) and not any(_within(name, one) for one in allow)
    ]


def check_alike(records: Sequence[Record], allow: Sequence[str] = ()) -> None:
    """:raises UsageError: two of them do not compare; every field in which they differ is named"""
    for other in records[1:]:
        if found := differences(records[0], other, allow):
            told = "; ".join(f"{name}: {_short(a)} and {_short(b)}" for name, a, b in found)
            names = " ".join(f"--allow {name}" for name, _, _ in found)
            raise UsageError(
                f"{records[0].id[:12]} ({records[0].name}) and {other.id[:12]} ({other.name}) do not compare: {told}. "
                f"Measure them alike, or say that you know: {names}"
            )


def flat(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = f"{before}{key}"
        found |= flat(value, f"{inner}.") if isinstance(value, Mapping) and value else {inner: value}
    return found


def _fixed(record: Record) -> Iterator[tuple[str, Any]]:
    everything = asdict(record)
    for name, value in flat({key: everything[key] for key in FIXED}).items():
        if not any(_within(name, free) for free in FREE):
            yield name, value


def _within(name: str, section: str) -> bool:
    return name == section or name.startswith(f"{section}.")


def _canonical(content: object) -> bytes:
    try:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise UsageError(f"a record holds what JSON cannot ({error}); give plain, finite values") from error


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:12]
    return text if len(text) <= 60 else text[:57] + "..."
