"""The page in a browser: drawing, watching, taking back, looking back, and everything by keyboard."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from browsing import OPEN, done, expect
from parvis.data.captions import Words
from parvis.output import read_origin
from parvis.serve.app import PAGE
from parvis.serve.service import Service
from parvis.serve.settings import Settings
from served import KEY, gated, stepped, until

TOKENS, PASSES = 16, 5
TEXTS = (
    "red apple", "Red Apples", "aple", "a picture of the green, green APPLE!", "medium light skin tone red",
    "dark-skinned",
    "caf\u00e9 o'clock u.s. #1 *&", "apples berries boxes reds", "", "  ", "+1", "\u5f35 red", "medium dark complexion",
    "\u043a\u0440\u0430\u0441\u043d\u043e\u0435 \u044f\u0431\u043b\u043e\u043a\u043e_red",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
)  # fmt: skip

browser = pytest.mark.browser


def board(page: Any) -> float:
    """The share of the first picture that is open yet."""
    share: float = page.locator(".board").first.evaluate(OPEN)
    return share


def ask(page: Any, prompt: str = "red apple", n: int = 1, seed: int | None = 3) -> None:
    """Set what is to be drawn."""
    page.fill("#prompt", prompt)
    for _ in range(4 - n):
        page.click("#fewer")
    if seed is not None:
        page.fill("#seed", str(seed))
        page.press("#seed", "Tab")


@browser
def test_a_picture_fills_up_pass_by_pass_and_can_be_scrubbed(
    visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passes = stepped(service, monkeypatch)
    page = visit()
    ask(page)
    page.click("#go")
    card = page.locator(".card")
    passes.release(2)
    expect(card.locator(".state")).to_contain_text(f"2 of {PASSES} passes")
    assert 0 < board(page) < 1
    expect(page.locator("#go-label")).to_have_text("Cancel")
    passes.release(PASSES)
    done(page, 1)
    expect(card.locator(".state")).to_contain_text(f"{PASSES} passes")
    assert board(page) == 0
    expect(page.locator("#status")).to_have_text("All done.")
    with page.expect_download() as download:
        card.get_by_label("Save settings as JSON").click()
    told = json.loads(Path(download.value.path()).read_text())
    assert sorted(chain.from_iterable(told["positions_by_pass"])) == list(range(TOKENS)) and told["passes"] == PASSES
    bars = card.get_by_role("slider", name="Pass shown")
    bars.press("Home")
    assert board(page) == 1
    bars.press("ArrowRight")
    assert board(page) == pytest.approx(1 - len(told["positions_by_pass"][0]) / TOKENS, abs=0.01)
    expect(bars).to_have_attribute("aria-valuenow", "1")
    bars.press("End")
    assert board(page) == 0
    card.get_by_label("Replay the order").click()
    until(lambda: board(page) > 0)
    until(lambda: board(page) == 0)
    with page.expect_download() as download:
        card.get_by_label("Save PNG with its settings").click()
    file = tmp_path / "one.png"
    download.value.save_as(file)
    origin = read_origin(file)
    assert origin is not None and (origin.prompt, origin.seed, origin.settings["steps"]) == ("red apple", 3, PASSES)


@browser
def test_cancelling_frees_the_slots_and_keeps_what_was_seen(
    visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = stepped(service, monkeypatch)
    page = visit()
    ask(page, n=2)
    page.click("#go")
    passes.release(2)
    expect(page.locator(".card[data-status=drawing]")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator(".card[data-status=cancelled]")).to_have_count(2)
    assert service.engine.metrics().running == 2
    until(lambda: (passes.release(), service.engine.metrics().running == 0)[1])
    passes.release(100)
    expect(page.locator(".card .state").first).to_contain_text("cancelled after")
    assert 0 < board(page) < 1
    expect(page.locator("#go-label")).to_have_text("Draw 2 pictures")


@browser
def test_what_the_page_reads_in_a_text_is_what_the_model_reads(visit: Any) -> None:
    known = Words(("apple", "berry", "box", "green", "red", "dark-skin", "medium-light-skin"), 4)
    code = """async ([texts, known]) => {
      const { unknownWords } = await import("/page/words.js");
      return texts.map((text) => unknownWords(text, new Set(known)));
    }"""
    found = visit().evaluate(code, [TEXTS, known.vocabulary])
    for text, unknown in zip(TEXTS, found, strict=True):
        right = known.encode(f"{text} red").unknown if text != "+1" else ("plus", "one")
        assert tuple(unknown) == right, text


@browser
def test_words_are_completed_and_unknown_ones_are_marked(visit: Any) -> None:
    page = visit()
    page.locator("#prompt").press_sequentially("gr")
    expect(page.locator("#offers li")).to_have_text(["green"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#prompt")).to_have_value("green ")
    page.locator("#prompt").press_sequentially("aple")
    expect(page.locator("#prompt-marks mark")).to_have_text(["aple"])
    expect(page.locator("#unknown")).to_contain_text("aple is not known")
    page.locator("#unknown").get_by_role("button", name="apple").click()
    expect(page.locator("#prompt")).to_have_value("green apple")
    expect(page.locator("#unknown")).to_have_text("All words are known.")


@browser
def test_history_survives_a_reload_with_its_settings(visit: Any) -> None:
    page = visit()
    ask(page, "green", n=2, seed=11)
    page.locator("[data-name=steps] input[type=number]").fill("3")
    page.locator("[data-name=steps] input[type=number]").press("Tab")
    page.click("#go")
    done(page, 2)
    page.fill("#prompt", "red")
    page.locator("[data-name=steps]").get_by_role("button", name="reset").click()
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    expect(page.locator("#prompt")).to_have_value("red")
    page.click("#tab-history")
    expect(page.locator(".tile")).to_have_count(2)
    page.fill("#history-find", "seed 12")
    expect(page.locator(".tile")).to_have_count(1)
    page.locator(".tile").click()
    expect(page.locator("#detail .state")).to_contain_text("3 passes")
    page.get_by_role("button", name="Use these settings").click()
    expect(page.locator("#prompt")).to_have_value("green")
    expect(page.locator("#seed")).to_have_value("12")
    expect(page.locator("[data-name=steps] input[type=number]")).to_have_value("3")
    page.locator(".tile").click()
    page.locator("#detail").get_by_label("Draw again with these settings").click()
    done(page, 1)
    page.click("#tab-history")
    page.fill("#history-find", "")
    expect(page.locator(".tile")).to_have_count(3)
    page.click("#history-clear")
    page.get_by_role("button", name="Keep them").click()
    expect(page.locator(".tile")).to_have_count(3)
    page.click("#history-clear")
    page.locator("#sure").get_by_role("button", name="Delete all").click()
    expect(page.locator(".tile")).to_have_count(0)
    expect(page.locator("#history-empty")).to_contain_text("Nothing drawn yet")


@browser
def test_errors_are_told_in_the_servers_words(visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit()
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("Say what to draw first")
    ask(page, "zebra", n=1)
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("knows none of the words of 'zebra'")
    expect(page.locator(".card[data-status=failed]")).to_have_count(1)
    page.get_by_label("Dismiss").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    monkeypatch.setattr(service, "_draining", True)
    page.fill("#prompt", "red")
    page.click("#go")
    expect(page.get_by_role("alert")).to_contain_text("takes no requests")


@browser
def test_a_connection_that_breaks_is_told_in_words(
    visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*given: object) -> None:
        raise RuntimeError("an answer that has begun and cannot end")

    page, passes = visit(), stepped(service, monkeypatch)
    ask(page, n=1)
    page.click("#go")
    passes.release()
    expect(page.locator(".card .state")).to_contain_text(f"1 of {PASSES} passes")
    for name in ("Scribe.passed", "Scribe.completed", "refusal"):
        monkeypatch.setattr(f"parvis.serve.sse.{name}", cut)
    passes.release(100)
    expect(page.get_by_role("alert")).to_contain_text("The connection to the server broke. Is it still running?")
    expect(page.locator(".card[data-status=failed]")).to_have_count(1)


@browser
def test_a_full_queue_is_waited_for(visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.engine, "limit", 0)
    page = visit()
    ask(page, n=1)
    with page.expect_response(lambda answer: answer.status == 429):
        page.click("#go")
    expect(page.locator(".card[data-status=waiting] .state")).to_contain_text("the server is full")
    monkeypatch.setattr(service.engine, "limit", 64)
    done(page, 1)


@browser
def test_the_key_is_asked_for_and_kept_for_the_tab(
    visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch, chromium: Any, models: Path
) -> None:
    from served import listening, running

    with running(models, Settings(key=KEY)) as locked, listening(locked) as server:
        page = visit(server.url, ready=False)
        page.fill("#key", "not the key, but long enough")
        page.keyboard.press("Enter")
        expect(page.locator("#key-wrong")).to_be_visible()
        page.fill("#key", KEY)
        page.get_by_role("button", name="Use the key").click()
        page.wait_for_selector("body[data-ready=yes]")
        assert page.evaluate("[Object.values(sessionStorage), Object.values(localStorage).join()]")[0] == [KEY]
        assert KEY not in page.evaluate("Object.values(localStorage).join()")
        ask(page, n=1)
        page.click("#go")
        done(page, 1)
        page.reload()
        page.wait_for_selector("body[data-ready=yes]")
        expect(page.locator("#key-dialog")).to_be_hidden()


@browser
def test_everything_can_be_done_by_keyboard(visit: Any, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit()
    keys = page.keyboard
    keys.press("/")
    keys.type("red ")
    keys.press("Control+Enter")
    done(page, 4)
    keys.press("Tab")  # letters belong to the list of models
    keys.press("Tab")
    keys.press("?")
    expect(page.locator("#keys")).to_be_visible()
    keys.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    keys.press("o")
    expect(page.locator("#overlay")).to_have_attribute("aria-pressed", "true")
    keys.press("l")
    expect(page.locator("#lock")).to_have_attribute("aria-pressed", "true")
    page.focus("#tab-draw")
    keys.press("ArrowRight")
    expect(page.locator("#tab-compare")).to_be_focused()
    expect(page.locator("#view-compare")).to_be_visible()
    keys.press("4")
    expect(page.locator("#view-edit")).to_be_visible()
    keys.press("1")
    gate = gated(service, monkeypatch)
    keys.press("Control+Enter")
    expect(page.locator("#go-label")).to_have_text("Cancel")
    keys.press("Escape")
    gate.set()
    expect(page.locator("#go-label")).to_have_text("Draw 4 pictures")
    seen: Counter[str] = Counter()
    for _ in range(120):
        keys.press("Tab")
        about = page.evaluate(FOCUSED)
        assert about["name"] and about["outline"] != "none", about
        seen[about["what"]] += 1
        if seen[about["what"]] > 8:
            break
    assert len(seen) > 15, "tabbing reaches too little"
    assert page.evaluate(NAMELESS) == []


FOCUSED = """() => {
  const at = document.activeElement;
  const name = at.getAttribute("aria-label") || at.labels?.[0]?.textContent || at.textContent;
  const marked = at.matches(".chip *, .file *") ? at.closest("label") : at;
  const outline = at === document.body ? "body" : getComputedStyle(marked).outlineStyle;
  return { name: name.trim(), outline, what: at.id || name.trim() };
}"""
NAMELESS = """[...document.querySelectorAll("button, input, select, textarea, canvas[tabindex], [role=img]")]
  .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim()))
  .map((one) => one.outerHTML.slice(0, 90))"""


@browser
def test_light_dark_and_calm(visit: Any) -> None:
    page = visit(color_scheme="dark", reduced_motion="reduce")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    light = page.evaluate(ground)
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 120 < 650 < sum(map(int, re.findall(r"\d+", light)[:3]))
    page.click("#theme")
    assert page.evaluate(ground) == dark
    page.reload()
    page.wait_for_selector("body[data-ready=yes]")
    assert page.evaluate(ground) == dark
    assert page.evaluate("getComputedStyle(document.querySelector('#go')).transitionDuration") in ("0s", "")


@browser
def test_the_handle_of_a_slider_is_seen(visit: Any) -> None:
    page = visit()
    slider = page.locator("[data-name=temperature] input[type=range]")
    slider.evaluate("one => { one.value = '0'; one.dispatchEvent(new Event('input')) }")
    box = slider.bounding_box()
    assert box is not None
    shot = Image.open(io.BytesIO(page.screenshot(clip={**box, "width": 16}))).convert("L")
    tall = shot.crop((8, 0, 9, shot.height)).point(lambda grey: 255 * (grey < 100)).histogram()[255]
    assert tall >= 14, "its 16 pixels, not the track's 6"


@browser
def test_a_run_begun_out_of_sight_is_brought_into_view(visit: Any) -> None:
    page = visit(viewport={"width": 360, "height": 600}, reduced_motion="reduce")
    ask(page, n=1, seed=None)
    page.click("#tab-compare")
    page.click("#go")
    expect(page.locator("#compared .run")).to_be_in_viewport()


@browser
def test_on_a_phone_nothing_scrolls_sideways(visit: Any) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True)
    ask(page, "red " + "supercalifragilisticexpialidocious" * 2, n=1, seed=None)
    page.click("#go")
    done(page, 1)
    for name in ("draw", "compare", "grid", "edit", "history"):
        page.click(f"#tab-{name}")
        expect(page.locator(f"#view-{name}")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 360, name


@browser
def test_a_bundled_model_behind_the_real_command(visit: Any) -> None:
    command = [sys.executable, "-m", "parvis.cli", "serve", "--model", "emoji-64", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            url = next(json.loads(line)["url"] for line in server.stderr if '"listening"' in line)
            page = visit(url)
            ask(page, "woman astronaut dark skin", n=1)
            page.locator("[data-name=steps] input[type=number]").fill("3")
            page.locator("[data-name=steps] input[type=number]").press("Tab")
            page.click("#go")
            done(page, 1)
            expect(page.locator(".card .state")).to_contain_text("3 passes")
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


def test_the_page_is_whole_small_and_asks_nobody_else() -> None:
    files = sorted(PAGE.iterdir())
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"\s(style|on[a-z]+)=|<style|<script(?![^>]*src=)", text), "the policy forbids what is inline"
    for name in re.findall(r'(?:src|href)="/page/([^"]+)"', text):
        assert (PAGE / name).is_file()
    for file in files:
        said = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|innerHTML|eval\(", said), file.name
        for name in re.findall(r'from "\./([^"]+)"', said):
            assert (PAGE / name).is_file(), (file.name, name)
        assert said.count("\n") <= 320 or file.suffix == ".css", file.name
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    asked = {name for file in files for name in re.findall(r'byId\("([\w-]+)"\)', file.read_text())}
    assert asked <= set(ids)
