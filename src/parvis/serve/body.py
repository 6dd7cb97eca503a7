"""Bodies as clients send them: strict JSON, and forms of fields and files. What is wrong is :class:`Refused`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from parvis.serve.errors import Refused

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DIGITS = 30
_FIELDS, _PART = 64, 64 << 10


async def read_json(request: Request, limit: int, depth: int) -> dict[str, Any]:
    """The body as an object. Refuses another content type, more than ``limit`` bytes, and all of :func:`strict`."""
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    charset = rest.replace('"', "").strip().lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Refused(415, "the body must be JSON in UTF-8, with content-type application/json", param="content-type")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise Refused(413, f"the JSON body has more than {limit} bytes, the most that it may have")
    parsed = strict(bytes(data), depth)
    if not isinstance(parsed, dict):
        raise Refused(400, 'the body must be a JSON object, such as {"prompt": "red apple"}', code="invalid_json")
    return parsed


def strict(data: bytes | str, depth: int) -> Any:
    """JSON as the standard has it: UTF-8, names once each, finite numbers, at most ``depth`` levels (seen before it is
    parsed)."""
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        if _nesting(text) > depth:
            raise ValueError(f"nested more than {depth} deep")
        return json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite, parse_int=_short
        )
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON that is taken here: {error}", code="invalid_json") from None


def _nesting(text: str) -> int:
    level = most = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        level += 1 if sign in "[{" else -1
        most = max(most, level)
    return most


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise ValueError(f"the name {name[:80]!r} stands there twice")
        made[name] = value
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    if len(text) > _DIGITS or not math.isfinite(float(text)):
        raise ValueError(f"the number {text[:40]} is too large or too long")
    return float(text)


def _short(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"the number {text[:40]}... is too long")
    return int(text)


async def read_form(request: Request, lists: Container[str] = ()) -> tuple[dict[str, str], dict[str, bytes]]:
    """The fields and the files of a multipart form, each named once; ``image[]`` counts as ``image``. What is in
    ``lists`` may come an entry at a time, as OpenAI's client writes lists: ``margins[]=0``, ``margins[]=8``, ..."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, "the body must be a form with files, multipart/form-data", param="content-type")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    entries: dict[str, list[str]] = {}
    try:
        async with request.form(max_files=4, max_fields=_FIELDS, max_part_size=_PART) as form:
            for given, value in form.multi_items():
                name = given.removesuffix("[]")
                if name in lists and name != given and isinstance(value, str):
                    entries.setdefault(name, []).append(value)
                    continue
                if name in fields or name in files:
                    raise _twice(name)
                if isinstance(value, UploadFile):
                    files[name] = await value.read()
                else:
                    fields[name] = value
    except (FormParserError, UnicodeError, AssertionError, ValueError, KeyError) as error:
        raise Refused(400, f"the form is damaged: {error}", code="invalid_form") from None
    for name, values in entries.items():
        if name in fields:
            raise _twice(name)
        fields[name] = values[0] if len(values) == 1 else f"[{','.join(values)}]"
    return fields, files


def _twice(name: str) -> Refused:
    return Refused(400, f"{name[:80]} is given twice; give it once", param=name[:80])
