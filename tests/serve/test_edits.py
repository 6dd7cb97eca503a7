"""Editing over HTTP: masks as OpenAI has them, variations, margins; pictures that are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from parvis.serve.service import Service
from served import EDIT, call, error, file, picture, running

RED = Image.new("RGB", (16, 16), (200, 40, 40))
HALF = Image.new("L", (16, 16))
HALF.paste(255, (0, 0, 8, 16))


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with running(models) as service:
        yield service


def ask(service: Service, files: dict[str, bytes], **fields: str) -> httpx.Response:
    fields = {"prompt": "green", "seed": "1", "feather": "0"} | fields
    return call(service, "POST", EDIT, data=fields, files={name: (name, data) for name, data in files.items()})


def drawn(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return np.asarray(picture(answer.json()["data"][0]["b64_json"])).astype(int)


def clear(alpha: Image.Image) -> Image.Image:
    """The red picture, transparent where ``alpha`` is white."""
    made = RED.convert("RGBA")
    made.putalpha(alpha.point([255 - i for i in range(256)]))
    return made


def test_only_what_the_mask_says_is_drawn_whatever_kind_it_is(service: Service) -> None:
    masks = {"white": HALF, "transparent": clear(HALF)}
    pictures = [drawn(ask(service, {"image": file(RED), "mask": file(mask)})) for mask in masks.values()]
    pictures.append(drawn(ask(service, {"image": file(clear(HALF))})))
    for pixels in pictures:
        assert (pixels[:, 8:] == (200, 40, 40)).all() and (pixels[:, :8] != (200, 40, 40)).any()
    assert (pictures[0] == pictures[1]).all()


def test_larger_pictures_are_scaled_to_the_model(service: Service) -> None:
    large, mask = RED.resize((64, 64)), HALF.resize((64, 64))
    assert drawn(ask(service, {"image": file(large, "JPEG"), "mask": file(mask)})).shape == (16, 16, 3)


def test_a_variation_and_margins(service: Service) -> None:
    assert ask(service, {"image": file(RED)}, keep="0.5").json()["usage"]["output_tokens"] == 8
    wider = ask(service, {"image": file(RED)}, margins="[16, 0, 0, 16]")
    assert (drawn(wider)[:5, 11:] == (200, 40, 40)).all()


def test_a_list_may_come_an_entry_at_a_time_and_nothing_else_may(service: Service) -> None:
    """As OpenAI's client writes lists of ``extra_body`` into a form."""
    fields: dict[str, Any] = {"prompt": "green", "seed": "1", "feather": "0"}
    ones = [call(service, "POST", EDIT, data=fields | more, files={"image": file(RED)}) for more in (
        {"margins": "[16, 0, 0, 16]"}, {"margins[]": ["16", "0", "0", "16"]}, {"margins[]": "[16, 0, 0, 16]"},
    )]  # fmt: skip
    assert all((drawn(one) == drawn(ones[0])).all() for one in ones)
    for name, more, message in (
        ("margins", {"margins[]": ["16", "0", "0"]}, "4 items"),
        ("margins", {"margins[]": ["16", "0", "0", "x"]}, "not of type"),
        ("margins", {"margins[]": ["16", "0"], "margins": "[16, 0, 0, 16]"}, "twice"),
        ("prompt", {"prompt[]": ["green", "red"]}, "twice"),
    ):
        told = error(call(service, "POST", EDIT, data=fields | more, files={"image": file(RED)}))
        assert told["param"] == name and message in told["message"]


def test_each_file_may_be_an_array_of_one(service: Service) -> None:
    files = [("image[]", ("a", file(RED))), ("mask", ("b", file(HALF)))]
    assert call(service, "POST", EDIT, data={"prompt": "red"}, files=files).status_code == 200
    files += [("image[]", ("c", file(RED)))]
    assert "twice" in error(call(service, "POST", EDIT, data={"prompt": "red"}, files=files))["message"]


def test_grey_palette_cmyk_and_16_bit_are_pictures_like_others(service: Service) -> None:
    deep = Image.fromarray(np.full((16, 16), 40000, dtype=np.uint16))
    kinds = [
        file(RED.convert("L")),
        file(RED.convert("P")),
        file(RED.convert("CMYK"), "JPEG"),
        file(deep),
        file(RED, "WEBP"),
    ]
    for image in kinds:
        assert ask(service, {"image": image, "mask": file(HALF)}).status_code == 200


@pytest.mark.parametrize(
    ("files", "fields", "param", "message"),
    [
        ({"image": file(RED)}, {}, "mask", "missing"),
        ({"mask": file(HALF)}, {}, "image", "missing"),
        ({"image": file(RED), "mask": file(HALF.resize((8, 8)))}, {}, "mask", "8 x 8"),
        ({"image": file(RED), "mask": file(Image.new("L", (16, 16)))}, {}, "mask", "marks nothing"),
        ({"image": file(RED), "mask": file(Image.new("L", (16, 16), 255))}, {}, "mask", "marks everything"),
        ({"image": file(RED.resize((32, 16))), "mask": file(HALF.resize((32, 16)))}, {}, None, "shape"),
        ({"image": file(RED)[:60], "mask": file(HALF)}, {}, None, "image"),
        ({"image": b"GIF89a no", "mask": file(HALF)}, {}, "image", "PNG, JPEG or WebP"),
        ({"image": file(RED, "GIF"), "mask": file(HALF)}, {}, "image", "PNG, JPEG or WebP"),
        ({"image": file(RED), "mask": file(HALF), "other": b"x"}, {}, "other", "unknown file"),
        ({"image": file(RED), "mask": file(HALF)}, {"keep": "0.5"}, "keep", "only one"),
        ({"image": file(RED)}, {"keep": "1.5"}, "keep", "less than 1"),
        ({"image": file(RED)}, {"margins": "[1, 2]"}, "margins", "4 items"),
        ({"image": file(RED)}, {"margins": "[60000, 60000, 60000, 60000]"}, "margins", "more than"),
        ({"image": file(RED), "mask": file(HALF)}, {"n": "two"}, "n", "integer"),
        ({"image": file(RED), "mask": file(HALF)}, {"steps": "[[[[[[1]]]]]]"}, "steps", "integer"),
        ({"image": file(RED), "mask": file(HALF)}, {"stepz": "1"}, "stepz", "steps"),
        ({"image": file(RED), "mask": file(HALF)}, {"model": "toy-raster"}, None, "raster"),
    ],
)
def test_refusals(
    service: Service, files: dict[str, bytes], fields: dict[str, str], param: str | None, message: str
) -> None:
    answer = ask(service, files, **fields)
    told = error(answer)
    assert answer.status_code == 400 and told["param"] == param and message in told["message"]


def test_pictures_with_too_many_pixels_are_refused_from_their_header(service: Service) -> None:
    for kind in ("PNG", "WEBP"):
        bomb = file(Image.new("1", (9000, 9000)), kind)
        assert len(bomb) < 1_000_000
        answer = ask(service, {"image": bomb, "mask": file(HALF)})
        assert answer.status_code == 413 and error(answer)["param"] == "image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(service: Service, kind: str) -> None:
    moving = file(RED, kind, save_all=True, append_images=[RED.rotate(5, fillcolor=(0, 0, 0))])
    answer = ask(service, {"image": moving, "mask": file(HALF)})
    assert answer.status_code == 400 and "2 frames" in error(answer)["message"]


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/latest", "file:///etc/passwd", "data:image/png;base64,AAAA"]
)
@pytest.mark.parametrize("name", ["image", "mask"])
def test_addresses_are_not_fetched(service: Service, monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    import socket

    connects: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, where: connects.append(where))
    files = {"image": file(RED), "mask": file(HALF)}
    del files[name]
    answer = ask(service, files, **{name: address})
    assert answer.status_code == 400 and error(answer)["param"] == name and not connects
