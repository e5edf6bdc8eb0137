"""The page in a headless Chromium: labels as one types, evidence, feedback that trains, keyboard, tokens."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

import pytest
from support.animals import animals
from support.browser import axe_script, chromium, served

pytest.importorskip("starlette", reason="the extra serve is not installed")

import megalabel
from megalabel.recipes import get
from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.served import ServedModel
from megalabel.serving.service import Service

TEXT = "purr whisker"
ANSWERED = "#labels[aria-busy=false] .row"  # labels of the text that is shown
KEEPING = "🐈 purr whisker"  # the first character takes two places in JavaScript


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return animals(tmp_path_factory.mktemp("page") / "data")


def trained(data, out):
    megalabel.train(get("linear")(megalabel.Corpus.open(data), trees=1, clusters="2"), out=out)
    return ServedModel.load("animals", out)


@pytest.fixture(scope="module")
def model(browser, data):
    return trained(data, data.parent / "run")


@pytest.fixture
def feedback(tmp_path):
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def address(model, feedback):
    with served(Service([model], feedback=FeedbackFile(feedback))) as found:
        yield found


@pytest.fixture
def page(browser, address):
    """The page in a tab of its own. No script fails, and the content security policy refuses nothing."""
    yield from opened(browser, address)


def opened(browser, address, **options):
    context = browser.new_context(**options)
    tab, troubles = context.new_page(), []
    tab.set_default_timeout(10_000)
    tab.on("pageerror", lambda error: troubles.append(str(error)))
    tab.on("console", lambda line: troubles.append(line.text) if "Content Security" in line.text else None)
    tab.goto(address)
    yield tab
    context.close()
    assert not troubles


def names(page):
    return page.locator(".row .name").all_inner_texts()


def ask(page, text):
    """Gives a text, and waits for the answer to it."""
    page.wait_for_selector("#about:not(:empty)")  # the models are known
    page.fill("#text", text)
    page.wait_for_selector(ANSWERED)


def until(page, condition):
    """Waits until the page has done something, 10 seconds at most."""
    for _ in range(500):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it did not happen")


def answer_with(page, labels, score_type):
    found = [{"id": i, "label": name, "score": score} for i, (name, score) in enumerate(labels)]
    body = {"model": "animals", "version": "", "score_type": score_type, "results": [{"labels": found}]}
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: route.fulfill(json=body))


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
        for later in opened(browser, address):
            ask(later, "hive milk")
            assert set(names(later)[:2]) == {"cow", "bumblebee"}
            assert later.is_hidden("#save")  # this server stores no feedback


def test_everything_works_from_the_keyboard_alone(page, feedback):
    press = page.keyboard.press
    assert page.evaluate("document.activeElement.id") == "text"
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


def test_one_request_runs_at_a_time_and_late_answers_are_dropped(page):
    held = []
    page.route("**/v1/predict", lambda route: held.append(route))
    page.fill("#text", "hive")
    until(page, lambda: held)
    page.fill("#text", TEXT)
    page.wait_for_timeout(150)
    assert len(held) == 1
    held[0].continue_()
    until(page, lambda: held[1:])
    assert [route.request.post_data_json["texts"] for route in held] == [["hive"], [TEXT]]
    assert names(page) == []
    held[1].continue_()
    page.wait_for_selector(".row")
    assert names(page)[0] == "cat"


def test_the_page_waits_for_a_server_that_is_busy_or_away(page):
    times = []

    def busy(route):
        times.append(1)
        if len(times) == 1:
            error = {"error": {"type": "busy", "message": "too many"}}
            route.fulfill(status=429, json=error, headers={"Retry-After": "60"})
        else:
            route.abort() if len(times) == 2 else route.continue_()

    page.route("**/v1/predict", busy)
    page.fill("#text", TEXT)
    page.wait_for_selector("text=The server is busy.")
    page.click("#banner-button")
    page.wait_for_selector("text=The server does not answer.")
    page.wait_for_selector(".row")
    assert page.is_hidden("#banner") and len(times) == 3
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: route.abort())
    page.fill("#text", TEXT + " fin")
    page.wait_for_selector("text=The server does not answer.")
    page.fill("#text", "")
    page.wait_for_selector("#banner", state="hidden")
    error = {"error": {"type": "invalid", "message": "the text is too long"}}
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: route.fulfill(status=413, json=error))
    page.fill("#text", TEXT * 2)
    page.wait_for_selector("text=The text is too long.")
    assert names(page) == []


def test_scores_are_shown_as_what_they_are(page):
    cases = {
        "calibrated": [("a", 0.9995), ("b", 0.995), ("c", 0.42), ("d", 0.034), ("e", 0.0001)],
        "probability": [("a", 0.9)], "margin": [("a", 1.5), ("b", -0.25)],
    }  # fmt: skip
    shown = {
        "calibrated": [">99.9%", "99.5%", "42%", "3.4%", "<0.1%"], "probability": ["0.90"],
        "margin": ["+1.50", "−0.25"],
    }  # fmt: skip
    for kind, labels in cases.items():
        answer_with(page, labels, kind)
        page.fill("#text", kind)
        page.wait_for_function("n => document.querySelectorAll('.row').length === n", arg=len(labels))
        assert page.locator(".row .score").all_inner_texts() == shown[kind]
        assert ("not calibrated" in page.inner_text("#kind")) == (kind != "calibrated")


def test_a_token_is_asked_for_and_sent(browser, model):
    with served(Service([model], tokens=[b"0123456789abcdef"])) as address:
        for page in opened(browser, address):
            page.wait_for_selector("#ask-token[open]")
            page.fill("#token", "größe")
            page.press("#token", "Enter")
            page.wait_for_selector("text=ASCII")
            page.fill("#token", "wrong")
            page.press("#token", "Enter")
            page.wait_for_selector("text=The server refused this token.")
            page.fill("#token", "0123456789abcdef")
            page.press("#token", "Enter")
            ask(page, TEXT)
            assert names(page)[0] == "cat"
            page.reload()
            ask(page, TEXT)  # without asking again


def test_axe_finds_nothing_serious_and_nothing_is_wider_than_a_phone(browser, address, tmp_path):
    script = axe_script(tmp_path)
    for scheme, width in (("light", 1280), ("dark", 360)):
        size = {"width": width, "height": 800}
        for page in opened(browser, address, color_scheme=scheme, viewport=size, bypass_csp=True):
            page.evaluate(script)
            found = [violations(page)]
            long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenhalterung"
            answer_with(page, [("cat", 0.9), (long, 0.5), ("آلة موسيقية وترية", 0.1)], "calibrated")
            page.fill("#text", TEXT)
            page.click(".row:first-child .open")
            page.wait_for_selector(".words")
            page.click("[aria-label='Accept cat']")
            page.click(f"[aria-label='Reject {long}']")
            page.fill("#search", "b")
            page.wait_for_selector("[role=option]")
            found.append(violations(page))
            page.press("#search", "Escape")
            page.click("#show-keys")
            found.append(violations(page))
            assert found == [[], [], []]
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def violations(page):
    """What axe-core finds to be serious or critical."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [rule for rule in found if rule["impact"] in ("serious", "critical")]


def test_the_page_is_one_small_file_that_asks_only_its_server(address):
    from urllib.request import urlopen

    with urlopen(address) as answer:
        html, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert len(html.encode()) <= 150_000
    assert (html.count("<script"), html.count("<style")) == (1, 1)
    assert not re.search(r"""\s(?:src|style|on\w+)=["']""", html)
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
