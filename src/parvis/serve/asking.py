"""From the fields of a request to work for the engine. Runs in a worker thread: captions and pictures are encoded."""

from __future__ import annotations

import secrets
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from parvis import asking
from parvis.edit import Edit
from parvis.engine.work import Work
from parvis.errors import UsageError
from parvis.output import Origin
from parvis.pipeline import Pipeline
from parvis.serve.errors import Refused
from parvis.serve.pictures import edited
from parvis.serve.schema import Asked, Editing
from parvis.serve.service import Service

RANDOM_SEEDS = 2**31
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, eq=False)
class Errand:
    """A request of a client, ready for the engine.

    Attributes:
        asked: its fields. model: who draws. works, origins: one for each picture. size: ``128x128``. text_tokens,
            image_tokens: what each picture is drawn from. note: what was not understood of the prompt.
    """

    asked: Asked
    model: str
    works: tuple[Work, ...]
    origins: tuple[Origin, ...]
    size: str
    text_tokens: int
    image_tokens: int
    note: str | None

    @property
    def seeds(self) -> list[int]:
        return [origin.seed for origin in self.origins]


def prepare(service: Service, asked: Asked, key: str, files: Mapping[str, bytes] | None = None) -> Errand:
    """Everything that can be refused is refused here.

    Args:
        key: on whose behalf; users of one client take turns. files: of an edit.
    """
    limits = service.settings.limits
    name, pipeline = service.model(asked.model)
    if len(asked.prompt) > limits.prompt:
        raise Refused(400, f"prompt has {len(asked.prompt)} characters, more than {limits.prompt}", param="prompt")
    size = _size(pipeline, asked.size)
    prompt, text_tokens, note = _prompt(pipeline, asked)
    edit = _edit(pipeline, asked, files, limits.pixels) if isinstance(asked, Editing) and files is not None else None
    first = secrets.randbelow(RANDOM_SEEDS) if asked.seed is None else asked.seed
    found = _asked(pipeline, asked, prompt, first, edit)
    requests = found.requests(pipeline.system)
    user = asked.safety_identifier or asked.user or ""
    partials = asked.partial_images or 0
    works = tuple(Work(name, one, edit, f"{key} {user}", partials, limits.seconds) for one in requests)
    settings = {"steps": asked.steps or pipeline.system.preset.steps, **found.settings}
    origins = tuple(Origin(str(prompt), first + i, pipeline.name, settings) for i in range(len(works)))
    known = requests[0].known
    image_tokens = 0 if known is None else int(known.sum())
    return Errand(asked, name, works, origins, size, text_tokens, image_tokens, note)


def _asked(pipeline: Pipeline, asked: Asked, prompt: str | int, seed: int, edit: Edit | None) -> asking.Asked:
    """The pictures, as the pipeline takes them. One at a time, since hiding warnings (the note tells them) concerns the
    whole process."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline.asked(
            prompt, n=asked.n or 1, seed=seed, steps=asked.steps, guidance=asked.guidance_scale,
            temperature=asked.temperature, top_k=asked.top_k, top_p=asked.top_p, order=asked.order, edit=edit,
        )  # fmt: skip


def _size(pipeline: Pipeline, asked: str | None) -> str:
    grid, factor = pipeline.system.grid, pipeline.system.tokenizer.factor
    size = f"{grid.width * factor}x{grid.height * factor}"
    if asked not in (None, "auto", size):
        raise Refused(400, f"the model draws {size} only; got size {asked!r}: give that, or auto", param="size")
    return size


def _prompt(pipeline: Pipeline, asked: Asked) -> tuple[str | int, int, str | None]:
    """What to draw, of how many tokens, and what of it was not understood."""
    takes = pipeline.system.takes
    if asked.class_label is not None:
        if takes != "classes":
            raise Refused(400, f"{pipeline.name} draws from captions; give a prompt instead", param="class_label")
        return asked.class_label, 1, None
    if takes == "words" and pipeline.words is not None:
        try:
            told = pipeline.words.encode(asked.prompt)
        except UsageError as error:
            raise Refused(400, str(error), param="prompt", code="unknown_words") from None
        return asked.prompt, len(told.used), told.warning
    return asked.prompt, 1 if takes == "classes" else len(asked.prompt.split()), None


def _edit(pipeline: Pipeline, asked: Editing, files: Mapping[str, bytes], pixels: int) -> Edit:
    others = [name for name in ("keep", "margins") if getattr(asked, name) is not None]
    if len(others) + ("mask" in files) > 1:
        raise Refused(400, "give only one of mask, keep and margins", param=others[0])
    picture, mask = edited(files, pixels, masked=not others)
    margins = None
    if asked.margins is not None:
        left, top, right, bottom = asked.margins
        if (picture.width + left + right) * (picture.height + top + bottom) > pixels:
            raise Refused(400, f"with its margins the picture has more than {pixels} pixels", param="margins")
        margins = (left, top, right, bottom)
    feather = 4 if asked.feather is None else asked.feather
    return pipeline.prepare(picture, mask, margins, asked.keep, feather, bool(asked.crop))
