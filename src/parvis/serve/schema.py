"""The fields of a request: OpenAI's, and those of Parvis beside them. Checked by pydantic, refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parvis.serve.body import strict
from parvis.serve.errors import Refused

LAST_SEED = 2**63 - 1
_INSTEAD = {
    "num_inference_steps": "steps",
    "guidance": "guidance_scale",
    "cfg_scale": "guidance_scale",
    "num_images": "n",
    "strategy": "order",
}
_WHY = {
    "style": "describe the style in the prompt",
    "negative_prompt": "the models know no negative prompts",
    "input_fidelity": "pixels outside the mask always stay as they are",
}
Seed = Annotated[int, Field(ge=0, le=LAST_SEED - 10)]


class Asked(BaseModel):
    """What both routes take. ``null`` is as if left out."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    prompt: str = Field("", description="What to draw. Not read where class_label is given.")
    model: str | None = Field(None, max_length=200, description="One of /v1/models; the first of them unless given.")
    n: int | None = Field(None, ge=1, le=10, description="How many pictures; 1 unless given.")
    size: str | None = Field(None, max_length=20, description="auto, or the model's size, e.g. 128x128.")
    response_format: Literal["b64_json"] | None = Field(None, description="Pictures come in the answer, not as URLs.")
    output_format: Literal["png", "jpeg", "webp"] | None = Field(None, description="png unless given.")
    output_compression: int | None = Field(
        None, ge=0, le=100, description="Quality of jpeg and webp; 100 unless given."
    )
    quality: Literal["auto"] | None = Field(None, description="Only auto; steps is what changes it.")
    background: Literal["auto", "opaque"] | None = Field(None, description="Pictures are always opaque.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Taken; nothing is moderated.")
    user: str | None = Field(None, max_length=200, description="Users take turns in the queue.")
    safety_identifier: str | None = Field(None, max_length=200, description="As user, which it goes before.")
    stream: bool | None = Field(None, description="Answer with events while the picture is drawn.")
    partial_images: int | None = Field(None, ge=0, le=3, description="Unfinished pictures to show; needs stream.")
    seed: Seed | None = Field(None, description="Of the first picture, the others count on; random unless given.")
    steps: int | None = Field(None, ge=1, le=1 << 20, description="Passes of the model.")
    order: str | None = Field(None, max_length=40, description="Another order, for models that take any.")
    guidance_scale: float | None = Field(None, ge=0, le=1000, description="Strength of the prompt; 1 is none.")
    temperature: float | None = Field(None, ge=0, le=1000, description="0 takes the likeliest.")
    top_k: int | None = Field(None, ge=0, le=1 << 30, description="0 is all.")
    top_p: float | None = Field(None, gt=0, le=1, description="1 is all.")
    class_label: int | Annotated[str, Field(max_length=200)] | None = Field(
        None, description="A class by number or name, for models that take classes."
    )
    x_partials: Literal["all"] | None = Field(None, description="Show the picture after every pass; needs stream.")


class Generation(Asked):
    """``POST /v1/images/generations``."""


class Editing(Asked):
    """``POST /v1/images/edits``, beside its files."""

    feather: int | None = Field(None, ge=0, le=1024, description="Pixels of the seam round the mask; 4 unless given.")
    crop: bool | None = Field(None, description="Of a picture of another shape take the middle.")
    keep: float | None = Field(None, gt=0, lt=1, description="In place of a mask: the share of tokens that stays.")
    margins: Annotated[list[Annotated[int, Field(ge=0, le=1 << 16)]], Field(min_length=4, max_length=4)] | None = Field(
        None, description="In place of a mask: pixels to add left, top, right and bottom."
    )


T = TypeVar("T", bound=Asked)


def checked(kind: type[T], fields: Mapping[str, Any]) -> T:
    """The fields of a JSON body. Refuses unknown ones by name, with the nearest that is valid."""
    for name in fields:
        if name not in kind.model_fields:
            raise unknown(name, kind.model_fields)
    try:
        asked = kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0])
        hint = kind.model_fields[name].description
        raise Refused(400, f"{name}: {first['msg']}. {hint}", param=name) from None
    _together(asked)
    return asked


def from_form(kind: type[T], fields: Mapping[str, str]) -> T:
    """As :func:`checked`, of a form, where all values are text: numbers, lists and truth values are read as JSON."""
    read = {name: _value(name, text, _types(kind).get(name, ())) for name, text in fields.items()}
    return checked(kind, read)


@lru_cache
def _types(kind: type[Asked]) -> dict[str, tuple[str, ...]]:
    """Field -> the JSON types of its values."""
    told = kind.model_json_schema()["properties"]
    return {
        name: tuple(one["type"] for one in field.get("anyOf", [field]) if one["type"] != "null")
        for name, field in told.items()
    }


def _value(name: str, text: str, types: tuple[str, ...]) -> Any:
    if types in ((), ("string",)):
        return text
    try:
        return strict(text, 2)
    except Refused:
        if "string" in types:
            return text
        raise Refused(400, f"{name}: {text[:80]!r} is not of type {' or '.join(types)}", param=name) from None


def unknown(name: str, known: Mapping[str, object]) -> Refused:
    """The refusal of a field that there is not."""
    shown = name[:80]
    if name in _WHY:
        return Refused(400, f"{shown} is not taken: {_WHY[name]}", param=shown, code="unknown_parameter")
    near = [_INSTEAD[name]] if name in _INSTEAD else difflib.get_close_matches(shown, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return Refused(400, f"unknown parameter {shown!r}; {hint}", param=shown, code="unknown_parameter")


def _together(asked: Asked) -> None:
    """Refuses fields that mean nothing beside each other."""
    if not asked.stream:
        for name in ("partial_images", "x_partials"):
            if getattr(asked, name):
                raise Refused(400, f"{name} needs stream=true", param=name)
    if asked.partial_images and asked.x_partials:
        raise Refused(400, "x_partials shows every pass already; leave partial_images out", param="partial_images")
    if (asked.output_format or "png") == "png" and asked.output_compression not in (None, 100):
        raise Refused(400, "output_compression is for jpeg and webp; png is lossless", param="output_compression")
    if not asked.prompt.strip() and asked.class_label is None:
        raise Refused(400, "prompt is missing: say what to draw", param="prompt", code="missing_parameter")
