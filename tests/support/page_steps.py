"""What tests of the page do in a tab again and again, and the small model behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.browser import PATIENCE

import megalabel
from megalabel.recipes import get
from megalabel.serving.served import ServedModel

ANSWERED = "#labels[aria-busy=false] .row"  # labels of the text that is shown


def trained(data: Path, run: Path) -> ServedModel:
    """A linear model of one tree."""
    megalabel.train(get("linear")(megalabel.Corpus.open(data), trees=1, clusters="2"), out=run)
    return ServedModel.load("animals", run)


def names(page: Any) -> list[str]:
    """The labels that are shown, in their order."""
    found: list[str] = page.locator(".row .name").all_inner_texts()
    return found


def ask(page: Any, text: str) -> None:
    """Gives a text, and waits for the answer to it."""
    page.wait_for_selector("#about:not(:empty)")  # the models are known
    page.fill("#text", text)
    page.wait_for_selector(ANSWERED)


def until(page: Any, condition: Callable[[], Any]) -> None:
    """Waits until the page has done something, as long as for a selector."""
    for _ in range(PATIENCE * 50):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("it did not happen")


def answer_with(page: Any, labels: list[tuple[str, float]], score_type: str) -> None:
    """Answers every question with the same labels and scores."""
    found = [{"id": i, "label": name, "score": score} for i, (name, score) in enumerate(labels)]
    body = {"model": "animals", "version": "", "score_type": score_type, "results": [{"labels": found}]}
    page.unroute("**/v1/predict")
    page.route("**/v1/predict", lambda route: route.fulfill(json=body))
