"""Labels as one types, the evidence for one, and feedback that the next model learns; also by the keyboard."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from support.browser import opened, served
from support.page_steps import ANSWERED, ask, names, trained

from megalabel.serving.service import Service

TEXT = "purr whisker"
KEEPING = "🐈 purr whisker"  # the first character takes two places in JavaScript


def test_labels_appear_for_a_text_and_a_click_shows_the_words_that_led_to_one(page):
    asked = []
    page.on("request", lambda request: asked.append(urlsplit(request.url)))
    ask(page, KEEPING)
    assert names(page)[0] == "cat"
    assert page.locator(".row").count() == 8
    page.click(".row:first-child .open")
    page.wait_for_selector(".words li.up")
    assert {"purr", "whisker"} <= set(page.locator(".words bdi").all_inner_texts())
    assert page.locator("#marks mark").all_inner_texts() == ["purr", "whisker"]
    assert "15" in page.locator(".facts").inner_text()  # training texts with the label
    assert {(where.scheme, where.netloc) for where in asked} == {("http", urlsplit(page.url).netloc)}
    page.fill("#text", "")
    page.wait_for_selector(".row", state="detached")
    assert page.is_visible("#empty")


def test_feedback_is_stored_and_the_model_that_is_trained_with_it_knows_better(
    page, browser, data, feedback, tmp_path
):
    ask(page, "hive milk")
    page.click("[aria-label='Accept cow']")
    page.click("[aria-label='Reject bee']")
    page.fill("#search", "bir")
    page.wait_for_selector("[role=option][aria-selected=true]")
    page.press("#search", "Enter")
    page.fill("#search", "bumblebee")
    page.click("text=New label “bumblebee”")
    assert page.locator(".chip").count() == 4
    page.click("[aria-label='Remove bird']")
    page.click("#save")
    page.wait_for_selector("text=Saved.")
    line = json.loads(feedback.read_text())
    assert (line["text"], line["rejected"]) == ("hive milk", ["bee"])
    assert sorted(line["labels"]) == ["bumblebee", "cow"]

    more = tmp_path / "data"
    more.mkdir()
    (more / "train.jsonl").write_text((data / "train.jsonl").read_text() + feedback.read_text())
    with served(Service([trained(more, tmp_path / "run")])) as address:
        with opened(browser, address) as later:
            ask(later, "hive milk")
            assert set(names(later)[:2]) == {"cow", "bumblebee"}
            assert later.is_hidden("#save")  # this server stores no feedback


def test_everything_works_from_the_keyboard_alone(page, feedback):
    press = page.keyboard.press
    page.wait_for_selector("#text:focus")  # autofocus comes with the first frame, which may be after the load
    page.wait_for_selector("#about:not(:empty)")
    page.keyboard.type("hive milk")
    page.wait_for_selector(ANSWERED)
    second = names(page)[1]
    while page.evaluate("!document.activeElement.classList.contains('open')"):
        press("Tab")
    press("ArrowDown")
    press("Enter")
    page.wait_for_selector(".words")
    assert page.locator("[aria-expanded=true] .name").inner_text() == second
    press("a")
    press("End")
    press("r")
    last = names(page)[-1]
    press("/")
    page.keyboard.type("f")
    page.wait_for_selector("[role=option][aria-selected=true]")
    assert page.get_attribute("#search", "aria-activedescendant") == "option-0"
    press("Enter")
    press("Control+Enter")
    page.wait_for_selector("text=Saved.")
    line = json.loads(feedback.read_text())
    assert (line["labels"], line["rejected"]) == ([second, "fish"], [last])
    press("Escape")
    assert page.evaluate("document.activeElement.id") == "text"


def test_labels_belong_to_their_text(page):
    ask(page, TEXT)
    page.click("[aria-label='Accept cat']")
    ask(page, TEXT + " and milk")
    assert page.locator(".chip").count() == 1
    ask(page, "hive honey")
    assert page.locator(".chip").count() == 0
    ask(page, TEXT)
    assert page.locator(".chip").count() == 1
