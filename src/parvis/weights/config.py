"""The ``config.json`` of a model folder: what it may hold, with bounds that are checked before anything is allocated.

    {"format": "parvis-model", "version": 1,
     "system": "emoji-64",                       the function of parvis.systems that builds it
     "arguments": {"width": 256, "layers": 6},   its size arguments; sections may be nested two deep
     "words": "words.json",                      the vocabulary of the prompts, or null
     "parameters": 5870000,                      elements in all tensors together
     "about": {"licence": "Apache-2.0"},         free short texts
     "files": {"model.safetensors": {"bytes": 123, "sha256": "..."}}}

All keys must be there and no other; a number out of bounds, a wrong type or a file name with a path in it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from parvis.errors import WeightsError

FORMAT, VERSION = "parvis-model", 1
MAX_CONFIG_BYTES = 1 << 20
MAX_PARAMETERS = 1 << 35
MAX_FILES = 256
MAX_TEXT = 4096
MAX_LIST = 4096
MAX_INTEGER = 1 << 20
# Sizes that get a bound of their own, wherever in `arguments` they stand; each is at least 1.
LIMITS = {
    "width": 16384,
    "layers": 256,
    "depth": 256,
    "heads": 1024,
    "hidden": 65536,
    "channels": 16384,
    "z_channels": 16384,
    "multipliers": 64,
    "groups": 1024,
    "encoder_blocks": 64,
    "decoder_blocks": 64,
    "codes": 1 << 20,
    "code_dim": 16384,
    "vocabulary": 1 << 20,
    "tokens": 1 << 20,
    "height": 16384,
    "side": 16384,
    "resolution": 16384,
    "factor": 256,
    "patch": 256,
}

Leaf: TypeAlias = bool | int | float | str | None
Argument: TypeAlias = "Leaf | list[Any] | dict[str, Any]"

_KEYS = ("format", "version", "system", "arguments", "words", "parameters", "about", "files")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.(safetensors|json)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 (hexadecimal) of one file of the folder."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class FolderConfig:
    """What a model folder says about itself. ``parameters`` and ``files`` are filled in by ``save_folder``."""

    system: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    words: str | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of ``config.json``."""
        files = {name: {"bytes": record.bytes, "sha256": record.sha256} for name, record in sorted(self.files.items())}
        content = {
            "format": FORMAT,
            "version": VERSION,
            "system": self.system,
            "arguments": dict(self.arguments),
            "words": self.words,
            "parameters": self.parameters,
            "about": dict(self.about),
            "files": files,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"


def parse_config(text: bytes | str, where: str) -> FolderConfig:
    """Read the text of a ``config.json``; ``where`` begins every message.

    Raises :class:`WeightsError` on anything that is not exactly as the head of this file says.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise _refuse(where, f"is longer than {MAX_CONFIG_BYTES} bytes")
    content = parse_json(text, where)
    _keys(content, _KEYS, "", where)
    if content["format"] != FORMAT:
        raise _refuse(where, f"'format' is {content['format']!r}, not {FORMAT!r}")
    if content["version"] != VERSION:
        raise WeightsError(
            f"{where}: written for model format {content['version']!r}, this Parvis reads {VERSION}; "
            "install the Parvis that wrote it, or export the model again"
        )
    if not isinstance(content["system"], str) or not _NAME.fullmatch(content["system"]):
        raise _refuse(where, f"'system' is {_short(content['system'])}, not a name")
    if not isinstance(content["arguments"], dict):
        raise _refuse(where, "'arguments' is not an object")
    _check_section(content["arguments"], "arguments", where, depth=0)
    files = _files(content["files"], where)
    words = content["words"]
    if words is not None and not (isinstance(words, str) and words in files and words.endswith(".json")):
        raise _refuse(where, f"'words' is {_short(words)}, not null or one of the .json files listed in 'files'")
    return FolderConfig(
        system=content["system"],
        arguments=content["arguments"],
        words=words,
        about=_about(content["about"], where),
        parameters=_integer(content["parameters"], "parameters", where, 0, MAX_PARAMETERS),
        files=files,
    )


def parse_json(text: bytes | str, where: str) -> Any:
    """JSON without its liberties: no key twice, no NaN or Infinity, no bottomless nesting, valid UTF-8."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is not a number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise _refuse(where, f"is not proper JSON ({_short(str(error))})") from error


def _check_section(section: dict[str, Any], name: str, where: str, depth: int) -> None:
    if depth > 2:
        raise _refuse(where, f"{name!r} is nested too deep")
    for key, value in section.items():
        inner = f"{name}.{key}"
        if not _KEY.fullmatch(key):
            raise _refuse(where, f"{_short(key)} in {name!r} is not the name of an argument")
        if isinstance(value, dict):
            _check_section(value, inner, where, depth + 1)
        elif isinstance(value, list):
            if len(value) > MAX_LIST:
                raise _refuse(where, f"{inner!r} has {len(value)} entries, at most {MAX_LIST} are allowed")
            for entry in value:
                _check_leaf(key, entry, inner, where)
        else:
            _check_leaf(key, value, inner, where)
    width, layers = section.get("width"), section.get("layers", section.get("depth"))
    if isinstance(width, int) and isinstance(layers, int) and 12 * layers * width**2 > MAX_PARAMETERS:
        raise _refuse(where, f"width {width} with {layers} layers is more than {MAX_PARAMETERS} parameters")


def _check_leaf(key: str, value: object, name: str, where: str) -> None:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise _refuse(where, f"{name!r} has {len(value)} characters, at most {MAX_TEXT} are allowed")
    elif isinstance(value, bool) or value is None:
        if key in LIMITS:
            raise _refuse(where, f"{name!r} is {value!r}, not a whole number")
    elif isinstance(value, int):
        _integer(value, name, where, 1 if key in LIMITS else -MAX_INTEGER, LIMITS.get(key, MAX_INTEGER))
    elif not isinstance(value, float) or key in LIMITS or abs(value) > MAX_INTEGER:
        raise _refuse(where, f"{name!r} is {_short(value)}, which is out of bounds or of the wrong type")


def _files(content: object, where: str) -> dict[str, FileRecord]:
    if not isinstance(content, dict) or not 0 < len(content) <= MAX_FILES:
        raise _refuse(where, f"'files' is not an object with 1 to {MAX_FILES} entries")
    files = {}
    for name, record in content.items():
        if not _FILE.fullmatch(name) or name == "config.json":
            raise _refuse(where, f"{_short(name)} in 'files' is not a plain *.safetensors or *.json name")
        _keys(record, ("bytes", "sha256"), f"files.{name}", where)
        size = _integer(record["bytes"], f"files.{name}.bytes", where, 0, 8 * MAX_PARAMETERS)
        if not isinstance(record["sha256"], str) or not _SHA256.fullmatch(record["sha256"]):
            raise _refuse(where, f"'files.{name}.sha256' is not 64 hexadecimal digits")
        files[name] = FileRecord(size, record["sha256"])
    return files


def _about(content: object, where: str) -> dict[str, str]:
    if not isinstance(content, dict) or len(content) > 64:
        raise _refuse(where, "'about' is not an object with at most 64 entries")
    if not all(isinstance(value, str) and len(value) <= MAX_TEXT for value in content.values()):
        raise _refuse(where, f"'about' holds something other than texts of at most {MAX_TEXT} characters")
    return content


def _keys(content: object, keys: tuple[str, ...], name: str, where: str) -> None:
    inside = f" in {name!r}" if name else ""
    if not isinstance(content, dict):
        raise _refuse(where, f"{name!r} is not an object" if name else "is not a JSON object")
    if unknown := sorted(set(content) - set(keys)):
        raise _refuse(where, f"unknown key {_short(unknown[0])}{inside}; known: {', '.join(keys)}")
    if missing := [key for key in keys if key not in content]:
        raise _refuse(where, f"key {missing[0]!r} is missing{inside}")


def _integer(value: object, name: str, where: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _refuse(where, f"{name!r} is {_short(value)}, not a whole number from {least} to {most}")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _refuse(where: str, problem: str) -> WeightsError:
    return WeightsError(f"{where}: {problem}; the file is damaged or not from Parvis, fetch or export the folder again")
