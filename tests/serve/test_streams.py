"""Pictures while they are drawn: OpenAI's events, one for every pass, and what the real client makes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import torch

from parvis.canvas import Canvas
from parvis.engine.ticket import Cancelled, Failed, Step, Ticket
from parvis.errors import DeadlinePassed
from parvis.serve import answer
from parvis.serve.app import create_app
from parvis.serve.service import Service
from served import EDIT, GENERATE, call, events, file, gated, picture, running, slow


@pytest.fixture(scope="module")
def service(models: Path) -> Iterator[Service]:
    with running(models) as service:
        yield service


def told(service: Service, **fields: Any) -> list[dict[str, Any]]:
    answer = call(service, "POST", GENERATE, json={"prompt": "red", "stream": True, **fields})
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    return events(answer.text)


@pytest.mark.parametrize("partials", [0, 1, 3])
def test_partial_images_come_before_the_completed_one(service: Service, partials: int) -> None:
    *before, last = told(service, partial_images=partials, seed=4)
    assert [one["type"] for one in before] == ["image_generation.partial_image"] * partials
    assert [one["partial_image_index"] for one in before] == list(range(partials))
    assert last["type"] == "image_generation.completed" and last["usage"]["output_tokens"] == 16
    assert (last["x_seed"], last["x_steps"], last["size"], last["output_format"]) == (4, 5, "16x16", "png")
    same = call(service, "POST", GENERATE, json={"prompt": "red", "seed": 4}).json()["data"][0]
    assert np.array_equal(picture(last["b64_json"]), picture(same["b64_json"]))


@pytest.fixture
def slowly(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes take long enough to be told one by one."""
    slow(service, monkeypatch)


@pytest.mark.usefixtures("slowly")
def test_every_pass_is_shown_with_the_positions_it_wrote(service: Service) -> None:
    *before, last = told(service, x_partials="all", seed=9, steps=6)
    written = [position for one in (*before, last) for position in one["x_positions"]]
    assert sorted(written) == list(range(16))
    passes = [one["x_pass"] for one in before]
    assert passes and passes == sorted(set(passes)) and set(passes) <= set(range(1, 6)) and before[0]["x_passes"] == 6
    shown = np.asarray(picture(before[0]["b64_json"]))
    white = {i for i in range(16) if (shown[i // 4 * 4 : i // 4 * 4 + 4, i % 4 * 4 : i % 4 * 4 + 4] == 255).all()}
    assert white == set(range(16)) - set(before[0]["x_positions"])
    assert last["type"] == "image_generation.completed"


def test_passes_that_are_told_together_keep_their_positions_apart(service: Service) -> None:
    by_pass: dict[int, int] = {}
    for one in told(service, x_partials="all", seed=9, order="raster"):
        by_pass |= dict(zip(one["x_positions"], one["x_position_passes"], strict=True))
        assert all(by_pass[at] <= one.get("x_pass", 16) for at in one["x_positions"])
    assert by_pass == {at: at + 1 for at in range(16)}


def test_several_pictures_of_one_stream_are_told_apart(service: Service) -> None:
    found = told(service, n=3, partial_images=1, seed=2)
    assert sorted(one["x_index"] for one in found if "usage" in one) == [0, 1, 2]
    assert sorted(one["x_seed"] for one in found if "usage" not in one) == [2, 3, 4]


def test_what_is_refused_before_the_stream_is_an_ordinary_error(service: Service) -> None:
    answer = call(service, "POST", GENERATE, json={"prompt": "red", "stream": True, "steps": 99})
    assert answer.status_code == 400 and answer.headers["content-type"] == "application/json"


def test_what_fails_later_is_an_event(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = service.engine.submit

    def failing(work: Any) -> Any:
        ticket = submit(work)
        ticket.put(Failed(DeadlinePassed("too late")))
        return ticket

    monkeypatch.setattr(service.engine, "submit", failing)
    (only,) = told(service)
    assert only["type"] == "error" and only["error"]["code"] == "deadline_passed" and only["status"] == 504
    assert only["request_id"]
    answer = call(service, "POST", GENERATE, json={"prompt": "red"})
    assert answer.status_code == 504


def test_of_passes_that_nobody_takes_only_the_latest_waits() -> None:
    canvas = Canvas(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))

    async def main() -> list[tuple[int, Any]]:
        tickets = [Ticket(), Ticket()]
        async with aclosing(answer.events(tickets, steps=True)) as happening:
            first = asyncio.create_task(anext(happening))
            for done in range(1, 50):
                for ticket in tickets:
                    ticket.put(Step(done, 50, canvas, canvas.known[0].int()))
                await asyncio.sleep(0.001)
            for ticket in tickets:
                ticket.put(Cancelled())
            return [await first, *[told async for told in happening]]

    found = asyncio.run(main())
    for index in (0, 1):
        mine = [event for which, event in found if which == index]
        assert len(mine) <= 3 and isinstance(mine[-1], Cancelled)
        assert isinstance(mine[-2], Step) and mine[-2].done == 49


def test_a_client_that_is_gone_before_the_first_event_cancels_all_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, submitted = gated(service, monkeypatch), list[Ticket]()
    submit = service.engine.submit
    monkeypatch.setattr(service.engine, "submit", lambda work: (submitted.append(submit(work)), submitted[-1])[1])
    body = json.dumps({"prompt": "red", "stream": True}).encode()
    scope = {
        "type": "http", "method": "POST", "path": GENERATE, "raw_path": b"", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "http_version": "1.1",
    }  # fmt: skip

    async def main() -> None:
        coming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return coming.pop() if coming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:  # the client reads nothing, and leaves
            await asyncio.sleep(60)

        await asyncio.wait_for(create_app(service)(scope, receive, send), 30)

    asyncio.run(main())
    assert [ticket.cancelled for ticket in submitted] == [True]
    gate.set()


@pytest.mark.filterwarnings("ignore")
def test_the_real_client(service: Service) -> None:
    """The ``openai`` package: plain, streaming and editing, with the fields of Parvis through ``extra_body``."""

    async def main() -> None:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(service)))
        async with openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=http) as client:
            assert [model.id async for model in await client.models.list()] == ["toy", "toy-raster"]
            assert (await client.models.retrieve("toy")).object == "model"
            more = {"seed": 7, "steps": 4, "order": "halton", "top_p": 0.9}
            plain = await client.images.generate(prompt="red apple", model="toy", n=2, size="auto", extra_body=more)
            assert plain.data and plain.usage and len(plain.data) == 2 and plain.usage.output_tokens == 32
            assert plain.data[0].model_extra is not None and plain.data[0].model_extra["x_steps"] == 4
            stream = await client.images.generate(prompt="red apple", stream=True, partial_images=2, extra_body=more)
            found = [event async for event in stream]
            assert [event.type for event in found] == ["image_generation.partial_image"] * 2 + [
                "image_generation.completed"
            ]
            assert found[-1].b64_json and found[-1].type == "image_generation.completed"
            assert np.array_equal(picture(found[-1].b64_json), picture(plain.data[0].b64_json or ""))
            image = ("image.png", file(picture(found[-1].b64_json)), "image/png")
            mask = picture(found[-1].b64_json).convert("RGBA")
            mask.paste((0, 0, 0, 0), (0, 0, 8, 16))
            edit = await client.images.edit(
                image=image, mask=("mask.png", file(mask), "image/png"), prompt="green", n=1, extra_body={"seed": 1}
            )
            assert edit.data and edit.usage and edit.usage.output_tokens == 8
            assert edit.usage.input_tokens_details.image_tokens == 8
            wider = await client.images.edit(
                image=image, prompt="green", extra_body={"margins": [16, 0, 0, 16], "seed": 1}
            )
            assert wider.data and wider.usage and wider.usage.input_tokens_details.image_tokens == 4
            editing = await client.images.edit(
                image=image, mask=("mask.png", file(mask), "image/png"), prompt="green", stream=True, partial_images=1,
                extra_body={"seed": 1},
            )  # fmt: skip
            kinds = [event.type async for event in editing]
            assert kinds == ["image_edit.partial_image", "image_edit.completed"]
            with pytest.raises(openai.BadRequestError) as refused:
                await client.images.generate(prompt="red", extra_body={"stepz": 3})
            assert refused.value.param == "stepz" and refused.value.code == "unknown_parameter"
            with pytest.raises(openai.NotFoundError):
                await client.images.generate(prompt="red", model="dall-e-3")

    asyncio.run(main())


@pytest.mark.usefixtures("slowly")
def test_events_of_an_edit_have_its_name(service: Service) -> None:
    image = file(picture(call(service, "POST", GENERATE, json={"prompt": "red"}).json()["data"][0]["b64_json"]))
    form = {"prompt": "green", "stream": "true", "x_partials": "all", "keep": "0.5", "steps": "4"}
    answer = call(service, "POST", EDIT, data=form, files={"image": ("a.png", image)})
    *before, last = events(answer.text)
    assert last["type"] == "image_edit.completed" and {one["type"] for one in before} == {"image_edit.partial_image"}
    assert sum(len(one["x_positions"]) for one in (*before, last)) == 8
