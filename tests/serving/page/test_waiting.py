"""One request at a time, a server that is busy or away, tokens, scores, models and their versions."""

from __future__ import annotations

from pathlib import Path

from support.browser import opened, served
from support.page_steps import ANSWERED, answer_with, ask, names, until

from megalabel.serving.served import ServedModel
from megalabel.serving.service import Service

TEXT = "purr whisker"


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
        "probability": [("a", 0.9), ("b", 0.0123), ("c", 0.0001)], "margin": [("a", 1.5), ("b", -0.25)],
    }  # fmt: skip
    shown = {
        "calibrated": [">99.9%", "99.5%", "42%", "3.4%", "<0.1%"], "probability": ["0.90", "0.012", "<0.001"],
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
        with opened(browser, address) as page:
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


def test_another_model_answers_when_it_is_chosen_and_a_new_version_is_noticed(browser, model):
    stored = Path(__file__).parents[2] / "data" / "v0.1.0" / "renee" / "run"
    with served(Service([model, ServedModel.load("other", stored)])) as address, opened(browser, address) as page:
        ask(page, TEXT)
        assert "8 labels · linear" in page.inner_text("#about")
        page.select_option("#model", "other")
        page.wait_for_selector(ANSWERED)
        assert "20 labels · renee" in page.inner_text("#about")
        assert page.inner_text("#kind").startswith("Logit")
        answer = {"model": "other", "version": "new", "score_type": "logit", "results": [{"labels": []}]}
        page.route("**/v1/predict", lambda route: route.fulfill(json=answer))
        with page.expect_request("**/v1/models"):
            page.fill("#text", "w1a")
        page.wait_for_selector("text=No label was found for this text.")
