"""The page's other views in a browser: side by side, two settings against each other, and editing."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browsing import done, expect
from parvis.serve.service import Service
from served import GENERATE

TOKENS, PASSES, SIDE = 16, 5, 16

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visit: Any) -> Any:
    """The page, with a prompt and a locked seed."""
    page = visit()
    page.fill("#prompt", "red apple")
    page.fill("#seed", "5")
    page.press("#seed", "Tab")
    for _ in range(3):
        page.click("#fewer")
    return page


def bodies(page: Any) -> list[dict[str, Any]]:
    """What is asked of the server from now on, as it is asked."""
    asked: list[dict[str, Any]] = []
    page.on("request", lambda one: one.url.endswith(GENERATE) and asked.append(json.loads(one.post_data)))
    return asked


def settings(card: Any, page: Any) -> dict[str, Any]:
    """What a card's JSON says."""
    with page.expect_download() as download:
        card.get_by_label("Save settings as JSON").click()
    told: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
    return told


def test_orders_side_by_side_share_prompt_and_seed(page: Any) -> None:
    asked = bodies(page)
    page.click("#tab-compare")
    expect(page.locator("#compare-orders :checked")).to_have_count(3)
    page.fill("#compare-steps", "2, 4")
    expect(page.locator("#go-label")).to_have_text("Compare 5 pictures")
    page.click("#go")
    cards = done(page, 5, "#compared")
    assert {(one["prompt"], one["seed"], one["n"]) for one in asked} == {("red apple", 5, 1)}
    found = [(one.get("order", "own"), one.get("steps")) for one in asked]
    assert found == [("own", 2), ("own", 4), ("random", 2), ("random", 4), ("raster", None)]
    for card, passes in zip(cards.all(), (2, 4, 2, 4, TOKENS), strict=True):
        assert re.fullmatch(rf"{passes}\s+passes\s+[\d.]+\s+s", card.locator(".state").inner_text())
    page.get_by_label("Replay all side by side").click()
    expect(cards.last.get_by_role("slider")).not_to_have_attribute("aria-valuenow", str(TOKENS))
    expect(cards.last.get_by_role("slider")).to_have_attribute("aria-valuenow", str(TOKENS))
    page.fill("#compare-steps", "2, many")
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("“many” is not a number")


def test_a_grid_asks_for_every_pair(page: Any) -> None:
    asked = bodies(page)
    page.click("#tab-grid")
    page.select_option("#grid-x", "order")
    page.fill("#grid-xs", "own, raster")
    page.select_option("#grid-y", "temperature")
    page.fill("#grid-ys", "0..1/0.5")
    page.click("#go")
    done(page, 6, "#gridded")
    pairs = {(one.get("order", "own"), one["temperature"]) for one in asked}
    assert pairs == {(order, heat) for order in ("own", "raster") for heat in (0, 0.5, 1)} and len(asked) == 6
    assert {one["seed"] for one in asked} == {5}
    expect(page.get_by_role("columnheader")).to_have_text(["Temperature \\ Order", "Model's own", "Raster"])
    expect(page.get_by_role("rowheader")).to_have_text(["0", "0.5", "1"])
    with page.expect_download() as download:
        page.get_by_label("Save the grid as one PNG").click()
    with Image.open(download.value.path()) as sheet:
        assert sheet.format == "PNG" and sheet.height > sheet.width
    for wrong, why in (("0..x", "not a number"), ("", "at least one value"), ("0..99", "count up")):
        page.fill("#grid-ys", wrong)
        page.click("#go")
        expect(page.get_by_role("alert")).to_contain_text(why)
    page.select_option("#grid-y", "order")
    page.fill("#grid-ys", "own")
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("two different settings")


def test_what_is_painted_is_drawn_anew_and_nothing_else(page: Any, tmp_path: Path) -> None:
    page.click("#tab-edit")
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("Choose a picture")
    colours = Image.new("RGB", (60, 40), (200, 30, 30))
    colours.save(tmp_path / "one.png")
    page.set_input_files("#edit-file", tmp_path / "one.png")
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("Paint over")
    easel = page.locator(".easel")
    page.fill("#brush-size", "4")
    box = easel.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.1, steps=4)
    page.mouse.up()
    expect(page.locator("#edit-told")).to_have_text("2 of 16 tokens are drawn anew")
    page.click("#invert")
    expect(page.locator("#edit-told")).to_have_text("16 of 16 tokens are drawn anew")
    page.click("#undo")
    page.click("#undo")
    expect(page.locator("#edit-told")).to_have_text("0 of 16 tokens are drawn anew")
    expect(page.locator("#undo")).to_be_disabled()
    page.click("#redo")
    expect(page.locator("#edit-told")).to_have_text("2 of 16 tokens are drawn anew")
    page.click("#go")
    card = done(page, 1, "#edited")
    told = settings(card, page)
    assert sorted(chain.from_iterable(told["positions_by_pass"])) == [0, 1] and told["given"] == list(range(2, TOKENS))
    expect(page.locator("#edited .summary")).to_contain_text("inpainting")
    page.check("#mode-eraser")
    page.fill("#brush-size", "60")
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.1)
    expect(page.locator("#edit-told")).to_have_text("0 of 16 tokens are drawn anew")


def test_the_brush_and_the_frame_by_keys(page: Any, tmp_path: Path) -> None:
    page.click("#go")
    done(page, 1, "#runs")
    page.locator("#runs .card").get_by_label("Edit").click()
    easel = page.locator(".easel")
    expect(easel).to_be_focused()
    for key in ("[", "[", "[", "[", "Space"):
        page.keyboard.press(key)
    expect(page.locator("#edit-told")).to_have_text("1 of 16 tokens are drawn anew")
    page.keyboard.press("Control+z")
    expect(page.locator("#edit-told")).to_have_text("0 of 16 tokens are drawn anew")
    page.check("#mode-frame")
    expect(page.locator("#edit-told")).to_contain_text("4, 4, 4, 4 pixels")
    easel.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#edit-told")).to_contain_text("8, 4, 0, 4 pixels")
    box = easel.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.1, steps=4)
    page.mouse.up()
    expect(page.locator("#edit-told")).to_contain_text("8, 0, 0, 8 pixels")
    page.fill("#frame-size", "2")
    expect(page.locator("#edit-told")).to_contain_text("16, 0, 0, 16 pixels")
    expect(page.locator("#go-label")).to_have_text("Outpaint 1 picture")
    page.keyboard.press("Control+Enter")
    card = done(page, 1, "#edited")
    assert settings(card, page)["request"]["margins"] == [16, 0, 0, 16]
    assert settings(card, page)["given"] == [2, 3, 6, 7]


def test_a_variation_keeps_a_share(page: Any) -> None:
    page.click("#go")
    done(page, 1, "#runs")
    page.locator("#runs .card").get_by_label("Variation").click()
    card = done(page, 2, "#runs").first
    told = settings(card, page)
    assert len(told["given"]) == TOKENS // 2 and told["request"]["keep"] == 0.5
    expect(card.get_by_label("Draw again with these settings")).to_be_disabled()


def test_a_model_of_a_fixed_order_offers_no_others(page: Any, service: Service) -> None:
    page.select_option("#model", "toy-raster")
    expect(page.locator("#order-own")).to_have_text("Always in its own order, in 16 passes. This model knows no other.")
    expect(page.locator("#order")).to_be_hidden()
    expect(page.locator("[data-name=steps]")).to_be_hidden()
    page.click("#go")
    card = done(page, 1, "#runs")
    expect(card.locator(".state")).to_contain_text(f"{TOKENS} passes")
    page.click("#tab-edit")
    expect(page.locator("#edit-limits")).to_contain_text("fixed order")
    page.click("#tab-compare")
    expect(page.locator("#compare-own")).to_be_hidden()
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("Choose another model")
    page.check("#compare-models input[value=toy]")
    page.click("#go")
    cards = done(page, 2, "#compared")
    passes = [card.locator(".state").inner_text().split()[0] for card in cards.all()]
    assert passes == [str(TOKENS), str(PASSES)]
