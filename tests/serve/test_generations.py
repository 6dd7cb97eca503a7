"""Drawing over HTTP: OpenAI's shapes, the fields of Parvis, and refusals by name."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from parvis.output import read_origin
from parvis.serve.service import Service
from served import GENERATE, call, error, picture, running


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with running(models) as service:
        yield service


def ask(service: Service, **fields: Any) -> httpx.Response:
    return call(service, "POST", GENERATE, json=fields)


def test_the_answer_is_openais_with_our_facts_beside_it(service: Service) -> None:
    answer = ask(service, prompt="red apple", n=2, seed=5, steps=4).json()
    assert [item["x_seed"] for item in answer["data"]] == answer["x_seeds"] == [5, 6]
    assert all(item["x_steps"] == 4 and item["x_seconds"] > 0 for item in answer["data"])
    assert (answer["size"], answer["output_format"], answer["x_model"]) == ("16x16", "png", "toy")
    assert answer["usage"]["output_tokens"] == 2 * 16 and answer["usage"]["input_tokens"] == 2 * 2
    assert answer["usage"]["total_tokens"] == 36
    assert answer["created"] > 1.7e9 and answer["x_note"] is None
    origin = read_origin(io.BytesIO(base64.b64decode(answer["data"][1]["b64_json"])))  # type: ignore[arg-type]
    assert origin is not None and (origin.prompt, origin.seed, origin.settings["steps"]) == ("red apple", 6, 4)


def test_a_seed_decides_the_picture_and_none_is_a_new_one(service: Service) -> None:
    one, same, other = (
        np.asarray(picture(ask(service, prompt="red", seed=s).json()["data"][0]["b64_json"])) for s in (1, 1, 2)
    )
    assert (one == same).all() and (one != other).any()
    assert ask(service, prompt="red").json()["x_seeds"] != ask(service, prompt="red").json()["x_seeds"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_formats(service: Service, kind: str) -> None:
    more = {"output_compression": 100 if kind == "png" else 30}  # OpenAI's default, which clients may send with a PNG
    item = ask(service, prompt="red", output_format=kind, **more).json()["data"][0]
    shown = picture(item["b64_json"])
    assert shown.format == kind.upper() and shown.size == (16, 16)


def test_sampling_order_and_model_reach_the_engine(service: Service) -> None:
    plain = {"prompt": "green apple", "seed": 3}
    told = [
        ask(service, **plain, **more).json()["data"][0]
        for more in (
            {}, {"steps": 16}, {"order": "raster"}, {"temperature": 0}, {"guidance_scale": 8}, {"top_k": 2},
            {"top_p": 0.3}, {"model": "toy-raster"},
        )
    ]  # fmt: skip
    assert len({item["b64_json"] for item in told}) == len(told)
    assert told[1]["x_steps"] == told[2]["x_steps"] == 16


def test_words_that_are_not_known_are_told(service: Service) -> None:
    assert "'aple' is not a word" in ask(service, prompt="red aple").json()["x_note"]


def test_null_is_as_if_left_out(service: Service) -> None:
    fields = ("model", "n", "size", "quality", "user", "stream", "partial_images", "seed", "steps", "order", "style")
    assert ask(service, prompt="red", **dict.fromkeys(fields[:-1])).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "param", "message"),
    [
        ({"prompt": "red", "stepz": 3}, 400, "stepz", "did you mean 'steps'"),
        ({"prompt": "red", "num_inference_steps": 3}, 400, "num_inference_steps", "did you mean 'steps'"),
        ({"prompt": "red", "style": "vivid"}, 400, "style", "in the prompt"),
        ({}, 400, "prompt", "missing"),
        ({"prompt": "  "}, 400, "prompt", "missing"),
        ({"prompt": "nothingness"}, 400, "prompt", "knows none of the words"),
        ({"prompt": 3}, 400, "prompt", "string"),
        ({"prompt": "red", "n": 11}, 400, "n", "10"),
        ({"prompt": "red", "n": "2"}, 400, "n", "integer"),
        ({"prompt": "red", "n": True}, 400, "n", "integer"),
        ({"prompt": "red", "size": "1024x1024"}, 400, "size", "16x16"),
        ({"prompt": "red", "response_format": "url"}, 400, "response_format", "not as URLs"),
        ({"prompt": "red", "background": "transparent"}, 400, "background", "opaque"),
        ({"prompt": "red", "output_compression": 5}, 400, "output_compression", "lossless"),
        ({"prompt": "red", "partial_images": 2}, 400, "partial_images", "stream"),
        ({"prompt": "red", "partial_images": 4, "stream": True}, 400, "partial_images", "3"),
        ({"prompt": "red", "model": "toyy"}, 404, "model", "not served"),
        ({"prompt": "red", "order": "rastr"}, 400, "order", "did you mean 'raster'"),
        ({"prompt": "red", "order": "lpd", "model": "toy-raster"}, 400, None, "one order only"),
        ({"prompt": "red", "steps": 17}, 400, "steps", "16 tokens"),
        ({"prompt": "red", "order": "raster", "steps": 3}, 400, "steps", "leave steps out"),
        ({"prompt": "red", "class_label": 3}, 400, "class_label", "captions"),
        ({"prompt": "red " * 600}, 400, "prompt", "2000"),
    ],
)
def test_refusals_name_the_field(
    service: Service, fields: dict[str, Any], status: int, param: str | None, message: str
) -> None:
    answer = ask(service, **fields)
    told = error(answer)
    assert (answer.status_code, told["param"]) == (status, param) and message in told["message"]


def test_unknown_addresses_and_methods_are_in_the_envelope(service: Service) -> None:
    told = error(call(service, "GET", "/v1/nothing"))
    assert told["code"] == "not_found" and "GET /v1/nothing" in told["message"]
    answer = call(service, "GET", GENERATE)
    assert error(answer)["code"] == "method_not_allowed" and answer.status_code == 405 and answer.headers["allow"]


def test_models_say_what_they_can(service: Service) -> None:
    listed = call(service, "GET", "/v1/models").json()
    assert listed["object"] == "list" and [one["id"] for one in listed["data"]] == ["toy", "toy-raster"]
    toy = call(service, "GET", "/v1/models/toy").json()
    assert toy == listed["data"][0]
    assert (toy["x_sizes"], toy["x_takes"], toy["x_licence"], toy["x_edits"]) == (["16x16"], "words", "CC0", "any")
    assert "raster" in toy["x_orders"] and listed["data"][1]["x_orders"] == []
    assert toy["x_preset"]["steps"] == 5 and toy["x_words"] == 3
    assert call(service, "GET", "/v1/models/none").status_code == 404


def test_words_come_in_pages(service: Service) -> None:
    first = call(service, "GET", "/v1/models/toy/words?limit=2").json()
    assert first["data"] == ["apple", "green"] and first["total"] == 3 and first["next"] == 2 and first["has_more"]
    last = call(service, "GET", "/v1/models/toy/words?offset=2").json()
    assert len(last["data"]) == 1 and last["next"] is None and not last["has_more"]
    assert call(service, "GET", "/v1/models/toy/words?contains=PPL").json()["data"] == ["apple"]
    assert error(call(service, "GET", "/v1/models/toy/words?limit=0"))["param"] == "limit"
