"""The page in a browser with models of other kinds: classes, scales, latents, one order only, and several at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import parvis
from browsing import OPEN, SHOWN, done, expect
from parvis.engine.work import Budget
from parvis.serve.service import Service
from served import EDIT, GENERATE, call, stepped
from toys import save_small

pytestmark = pytest.mark.browser

TOKENS, SIDE = 16, 16
CLASSES = ["ankle boot", "bag", "coat", "dress", "pullover", "sandal", "shirt", "sneaker", "trouser"]
MIXED = [*CLASSES[:2], "7"]
KINDS: dict[str, tuple[str, int | list[str]]] = {
    "lpd": ("lpd", CLASSES),
    "par": ("par", CLASSES),
    "var": ("var", CLASSES),
    "mar": ("mar", CLASSES),
    "xar": ("xar", CLASSES),
    "maskgit": ("maskgit", 1),
    "mixed": ("lpd", MIXED),
    "nameless": ("raster", 1000),
    "single": ("lpd", 1),
}


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """``lpd`` and the like draw classes with names, ``toy`` and ``toy-raster`` captions."""
    root = tmp_path_factory.mktemp("kinds")
    for name, (kind, classes) in KINDS.items():
        save_small(root / name, kind, classes)
    folders = [*[root / name for name in KINDS], models / "toy", models / "toy-raster"]
    service = Service({folder.name: parvis.load(folder) for folder in folders}, budget=Budget(slots=4), lanes=1)
    service.engine.start()
    yield service
    service.engine.stop(5)


@pytest.fixture
def page(visit: Any) -> Any:
    """The page with one picture asked for, and a locked seed."""
    page = visit()
    page.fill("#seed", "5")
    page.press("#seed", "Tab")
    for _ in range(3):
        page.click("#fewer")
    return page


def use(page: Any, model: str, name: str | None = None) -> None:
    page.select_option("#model", model)
    expect(page.locator("#model")).to_have_value(model)
    if name is not None:
        page.locator("#classes").get_by_text(name, exact=True).click()


def bodies(page: Any) -> list[dict[str, Any]]:
    """What is asked of the server from now on, as it is asked."""
    asked: list[dict[str, Any]] = []
    page.on("request", lambda one: one.url.endswith(GENERATE) and asked.append(json.loads(one.post_data)))
    return asked


def stroke(page: Any) -> None:
    """Paint over the upper left of the easel."""
    box = page.locator(".easel").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.1, steps=3)
    page.mouse.up()


def test_models_tell_what_the_page_needs(service: Service) -> None:
    told = {one["id"]: one for one in call(service, "GET", "/v1/models").json()["data"]}
    assert told["var"]["x_grid"]["scales"] == [[1, 1], [2, 2], [4, 4]] and not told["var"]["x_grid"]["flat"]
    assert told["lpd"]["x_grid"]["scales"] == [[4, 4]]
    assert [told[name]["x_values"] for name in ("lpd", "mar", "xar")] == ["codes", "latents", "latents"]
    assert [told[name]["x_passes_per_group"] for name in ("lpd", "xar")] == [1, 3]
    assert told["lpd"]["x_classes"] == CLASSES and told["lpd"]["x_class_count"] == len(CLASSES)
    assert told["nameless"]["x_classes"] == [] and told["nameless"]["x_class_count"] == 1000
    assert told["toy"]["x_class_count"] == 0


def test_a_class_is_found_by_typing_and_taken_by_keys(page: Any) -> None:
    asked, keys = bodies(page), page.keyboard
    keys.press("/")
    expect(page.locator("#class")).to_be_focused()
    expect(page.locator("#classes [role=option]")).to_have_count(len(CLASSES))
    keys.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("Choose a class first")
    keys.type("S")
    names = ["sandal", "shirt", "sneaker", "dress", "trouser"]  # those that begin so go first
    expect(page.locator("#classes [role=option] span")).to_have_text(names)
    keys.press("ArrowDown")
    active = page.locator("#class").get_attribute("aria-activedescendant")
    expect(page.locator(f"#{active}")).to_contain_text("shirt")
    keys.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("#classes [aria-selected=true] span")).to_have_text("shirt")
    expect(page.locator("#class-name")).to_have_text("shirt")
    expect(page.locator("#classes [role=option]")).to_have_count(len(CLASSES))
    keys.type("zebra")
    expect(page.locator("#class-hint")).to_have_text("No class is called like “zebra”.")
    keys.press("Escape")
    expect(page.locator("#class")).to_have_value("")
    keys.press("Control+Enter")
    card = done(page, 1)
    assert asked == [{"model": "lpd", "n": 1, "seed": 5, "class_label": "shirt", "stream": True, "x_partials": "all"}]
    expect(page.locator("#runs h2")).to_have_text("shirt")
    assert card.locator(".board").get_attribute("aria-label").startswith("“shirt”, seed 5: done in 5 passes")


def test_classes_go_through_history_compare_grid_and_edit(page: Any, tmp_path: Path) -> None:
    asked = bodies(page)
    use(page, "lpd", "coat")
    page.click("#tab-compare")
    page.fill("#compare-steps", "2")
    page.uncheck("#compare-orders input[value=random]")
    page.check("#compare-models input[value=var]")
    expect(page.locator("#compare-models input")).to_have_count(4)
    page.click("#go")
    done(page, 3, "#compared")
    assert [(one["class_label"], one["model"], one.get("order")) for one in asked] == [
        ("coat", "lpd", None), ("coat", "lpd", "raster"), ("coat", "var", None),
    ]  # fmt: skip
    asked.clear()
    page.click("#tab-grid")
    page.select_option("#grid-x", "classLabel")
    expect(page.locator("#grid-xs")).to_have_value("coat, dress, pullover")
    page.fill("#grid-xs", "bag, 3")
    page.select_option("#grid-y", "model")
    page.fill("#grid-ys", "lpd, mar")
    page.click("#go")
    done(page, 4, "#gridded")
    found = {(one["class_label"], one["model"]) for one in asked}
    assert found == {(name, model) for name in ("bag", "dress") for model in ("lpd", "mar")}
    expect(page.get_by_role("columnheader")).to_have_text(["Model \\ Class", "bag", "dress"])
    page.fill("#grid-xs", "zebra")
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("“zebra” is not one of the 9 classes")
    use(page, "mixed", "7")  # a name that is a number, but not its own
    page.click("#tab-edit")
    Image.new("RGB", (SIDE, SIDE), (90, 120, 30)).save(tmp_path / "one.png")
    page.set_input_files("#edit-file", tmp_path / "one.png")
    stroke(page)
    with page.expect_request(lambda one: one.url.endswith(EDIT)):
        page.click("#go")
    done(page, 1, "#edited")
    expect(page.locator("#edited h2")).to_have_text("7")
    page.click("#tab-history")
    expect(page.locator(".tile")).to_have_count(8)
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    expect(page.locator("#class-name")).to_have_text("7")
    page.fill("#history-find", "dress mar")
    expect(page.locator(".tile")).to_have_count(1)
    page.locator(".tile").click()
    page.get_by_role("button", name="Use these settings").click()
    expect(page.locator("#model")).to_have_value("mar")
    expect(page.locator("#class-name")).to_have_text("dress")


def test_scales_sharpen_one_by_one_and_are_replayed_as_they_were(
    page: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = stepped(service, monkeypatch)
    use(page, "var", "bag")
    page.click("#go")
    board, state, bars = page.locator(".board"), page.locator(".card .state"), page.locator(".card .bars")
    live: list[str] = []
    for k, size in enumerate(("1 \u00d7 1", "2 \u00d7 2"), start=1):
        passes.release()
        expect(state).to_contain_text(f"scale {k} of 3")
        expect(state).to_contain_text(size)
        assert board.evaluate(OPEN) == 0, "a scale covers the whole picture"
        live.append(board.evaluate(SHOWN))
    passes.release(2)
    card = done(page, 1)
    expect(state).to_contain_text("3 passes")
    whole = board.evaluate(SHOWN)
    assert len({*live, whole}) == 3
    slider = card.get_by_role("slider", name="Scale shown")
    slider.press("Home")
    assert board.evaluate(OPEN) == 1
    for k, seen in enumerate(live, start=1):
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", f"after scale {k} of 3, {k * k} written")
        expect(state).to_contain_text(f"scale {k} of 3")
        assert board.evaluate(SHOWN) == seen
    page.keyboard.press("o")
    ruled = board.evaluate(SHOWN)
    assert ruled != live[-1], "the overlay shows the scale's own grid"
    slider.press("Home")
    assert board.evaluate(OPEN) == 1
    slider.press("End")
    assert board.evaluate(SHOWN) not in (whole, ruled)
    page.keyboard.press("o")
    assert board.evaluate(SHOWN) == whole
    expect(bars).to_have_attribute("aria-valuemax", "3")
    for name in ("Variation", "Edit"):
        expect(card.get_by_label(name)).to_have_count(0)
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    page.click("#tab-history")
    page.locator(".tile").click()
    kept, slider = page.locator("#detail .board"), page.locator("#detail .bars")
    shown = []
    for key in ("Home", "ArrowRight", "ArrowRight", "End"):
        slider.press(key)
        shown.append(kept.evaluate(SHOWN))
    assert len(set(shown)) == 4


def test_a_model_of_scales_has_no_controls_that_mean_nothing(page: Any) -> None:
    use(page, "var", "bag")
    expect(page.locator("#facts")).to_contain_text("3 scales, 1 \u00d7 1 to 4 \u00d7 4")
    expect(page.locator("#order-own")).to_contain_text("a scale a pass: always 3 passes")
    for gone in ("#order", "[data-name=steps]"):
        expect(page.locator(gone)).to_be_hidden()
    page.click("#tab-grid")
    axes = page.locator("#grid-x option").evaluate_all("found => found.map((one) => one.value)")
    assert axes == ["guidance", "temperature", "topK", "topP", "seed", "classLabel", "model"]
    page.click("#tab-edit")
    expect(page.locator("#edit-limits")).to_contain_text("each of its scales covers the whole picture")
    expect(page.locator("#workshop")).to_be_hidden()
    expect(page.locator("#go")).to_be_hidden()
    use(page, "par")
    expect(page.locator("#edit-limits")).to_contain_text("takes no known tokens")
    page.get_by_role("button", name="Edit with mar").click()
    expect(page.locator("#workshop")).to_be_visible()
    expect(page.locator("#model")).to_have_value("mar")
    expect(page.locator("#class-name")).to_have_text("bag")
    use(page, "single")
    expect(page.locator("#class-hint")).to_contain_text("nothing to choose")
    page.click("#tab-draw")
    page.click("#go")
    done(page, 1)


def test_latents_appear_group_by_group(page: Any, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = stepped(service, monkeypatch)
    use(page, "xar", "bag")
    expect(page.locator("#facts")).to_contain_text("16 latents")
    expect(page.locator("#sampling")).to_be_hidden()
    page.click("#go")
    board, state = page.locator(".board").first, page.locator(".card .state").first
    for count, group, done_so_far, share in ((2, 1, 2, 1), (2, 2, 4, 3 / 4), (5, 4, 9, 1 / 4)):
        passes.release(count)
        expect(state).to_contain_text(f"{done_so_far} of 12 passes")
        expect(state).to_contain_text(f"group {group} of 4")
        assert board.evaluate(OPEN) == pytest.approx(share, abs=0.01)
    passes.release(4)
    card = done(page, 1)
    expect(state).to_contain_text("12 passes")
    slider = card.get_by_role("slider", name="Group shown")
    expect(slider).to_have_attribute("aria-valuemax", "4")
    slider.press("Home")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "after group 1 of 4, 4 written")
    assert board.evaluate(OPEN) == pytest.approx(3 / 4, abs=0.01)
    with page.expect_download() as download:
        card.get_by_label("Save settings as JSON").click()
    told = json.loads(Path(download.value.path()).read_text())
    assert [len(group) for group in told["positions_by_group"]] == [4, 4, 4, 4]
    assert told["positions_by_group"][1] == [2, 3, 6, 7]
    passes.release(100)
    use(page, "mar")
    page.click("#go")
    expect(done(page, 2).first.get_by_role("slider", name="Pass shown")).to_have_attribute("aria-valuemax", "5")


def test_one_group_in_several_passes_grows_pass_by_pass(
    page: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = stepped(service, monkeypatch)
    use(page, "maskgit")
    expect(page.locator("[data-name=steps] .hint")).to_have_text("this order fixes how many")
    page.click("#go")
    board, state = page.locator(".board"), page.locator(".card .state")
    shares = [1.0]
    for count in (1, 2, 3):
        passes.release()
        expect(state).to_have_text(f"{count} of 5 passes")
        shares.append(board.evaluate(OPEN))
    assert sorted(set(shares), reverse=True) == shares and shares[-1] > 0
    passes.release(3)
    card = done(page, 1)
    slider = card.get_by_role("slider", name="Pass shown")
    expect(slider).to_have_attribute("aria-valuemax", "5")
    slider.press("Home")
    for share in shares[1:]:
        slider.press("ArrowRight")
        assert board.evaluate(OPEN) == pytest.approx(share, abs=0.01)
    passes.release(100)
    page.select_option("#order", "raster")
    page.click("#go")
    card = done(page, 2).first
    expect(card.locator(".state")).to_contain_text("16 passes")
    expect(card.get_by_role("slider", name="Pass shown")).to_have_attribute("aria-valuemax", "16")


def test_switching_models_keeps_what_fits(page: Any) -> None:
    asked = bodies(page)
    use(page, "toy")
    page.fill("#prompt", "red apple")
    page.select_option("#order", "random")
    page.locator("[data-name=steps] input[type=number]").fill("3")
    page.locator("[data-name=steps] input[type=number]").press("Tab")
    use(page, "toy-raster")
    expect(page.locator("#prompt")).to_have_value("red apple")
    expect(page.locator("#unknown")).to_have_text("All words are known.")
    page.click("#go")
    with page.expect_download() as download:
        done(page, 1).get_by_label("Save settings as JSON").click()
    told = json.loads(Path(download.value.path()).read_text())
    assert told["positions_by_pass"] == [[at] for at in range(TOKENS)], "passes that were told together as well"
    assert "order" not in asked[0] and "steps" not in asked[0] and asked[0]["prompt"] == "red apple"
    use(page, "lpd")
    expect(page.locator("#prompt")).to_be_hidden()
    expect(page.locator("#classes [aria-selected=true]")).to_have_count(0)
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("Choose a class first")
    use(page, "lpd", "bag")
    page.select_option("#order", "halton")
    use(page, "mar")
    expect(page.locator("#class-name")).to_have_text("bag")
    expect(page.locator("#order")).to_have_value("halton")
    use(page, "mixed")
    expect(page.locator("#class-name")).to_have_text("bag")
    use(page, "nameless")
    expect(page.locator("#class")).to_have_value("")
    page.fill("#class", "1000")
    expect(page.locator("#class-hint")).to_contain_text("“1000” is no class: they are 0 to 999")
    page.fill("#class", "999")
    asked.clear()
    page.click("#go")
    done(page, 2)
    assert asked[0]["class_label"] == 999 and "prompt" not in asked[0]
    expect(page.locator("#runs h2").first).to_have_text("class 999")
    page.locator("#runs .card").last.get_by_label("Draw again with these settings").click()
    done(page, 3)
    expect(page.locator("#model")).to_have_value("toy-raster")
    expect(page.locator("#runs h2").first).to_have_text("red apple")


def test_a_list_of_classes_fits_where_it_is(visit: Callable[..., Any]) -> None:
    page = visit(viewport={"width": 390, "height": 844}, color_scheme="dark")
    use(page, "var", "trouser")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        for name in ("compare", "grid", "edit", "history", "draw"):
            page.click(f"#tab-{name}")
            assert page.evaluate("document.documentElement.scrollWidth") == width, name
        box = page.locator("#classes").bounding_box()
        seen = page.locator("#classes [aria-selected=true]").bounding_box()
        assert box["y"] <= seen["y"] and seen["y"] + seen["height"] <= box["y"] + box["height"] + 1
