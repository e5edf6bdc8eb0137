"""Requests that come at the same time: their answers are those of the library, and none waits for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from megalabel.models.asking import Asked
from megalabel.serving.batching import TEXTS, Batcher
from megalabel.serving.limits import Limits
from megalabel.serving.question import Question
from megalabel.serving.refusal import Refusal
from megalabel.serving.service import Service

WORDS = "near old tiger owl saddle castle quartz salmon harbour violin oak under".split()
MIXED = [" ".join(WORDS[i % 7 : i % 7 + 1 + i % 5] * (1 + 20 * (i % 11 == 0))) for i in range(60)]


def in_ten_minutes() -> float:
    return time.monotonic() + 600


@pytest.mark.parametrize("name", ["linear", "neural"])
def test_answers_do_not_depend_on_the_texts_of_other_requests(service, name):
    model = service.model(name)
    ks = [1 + i % 3 for i in range(len(MIXED))]

    async def all_at_once() -> list:
        asked = (Question([text], Asked(k), name) for text, k in zip(MIXED, ks, strict=True))
        return await asyncio.gather(*(service.predict(one, in_ten_minutes()) for one in asked))

    found = asyncio.run(all_at_once())
    assert service.metrics.batch_texts.labels(name)._sum.get() == len(MIXED)
    for text, k, answer in zip(MIXED, ks, found, strict=True):
        (alone,) = model.model.predict([text], k)
        shown = answer["results"][0]["labels"]
        assert [one["label"] for one in shown] == [label for label, _ in alone]
        assert [one["score"] for one in shown] == pytest.approx([score for _, score in alone], 1e-5, 1e-6)


def test_a_linear_model_answers_with_the_same_bits_in_any_batch(linear):
    asked = linear.checked(Asked(5))
    together = linear.model.topk(MIXED, asked.k)
    for i, text in enumerate(MIXED):
        alone = linear.model.topk([text], asked.k)
        assert (alone.ids == together.ids[i]).all()
        assert (alone.scores == together.scores[i]).all()


class Gated:
    """A model that answers each text by its length, once the gate is open, and fails for one text."""

    def __init__(self) -> None:
        self.gate, self.batches = threading.Event(), []

    def __call__(self, asked, items):
        self.batches.append((asked, [text for text, _ in items]))
        assert self.gate.wait(600)
        if any(text == "bad" for text, _ in items):
            raise ValueError("bad")
        return [len(text) for text, _ in items]


def asking(model: Gated, most: int, *requests: tuple, meanwhile=lambda: asyncio.sleep(0)):
    """What a batcher answers to requests (asked, texts, deadline), all of which wait before the gate opens."""

    async def main():
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(model, pool, most)
            tasks = []
            for asked, texts, deadline in requests:
                tasks.append(asyncio.create_task(batcher.ask(asked, [(text, None) for text in texts], deadline)))
                await asyncio.sleep(0)  # the first one is computed alone
                await asyncio.sleep(0)
            await meanwhile()
            model.gate.set()
            return await asyncio.gather(*tasks, return_exceptions=True), batcher

    return asyncio.run(main())


def test_waiting_requests_that_ask_for_the_same_share_a_batch():
    model = Gated()
    found, _ = asking(model, 100, *(("ab"[i % 2], ["x" * i], in_ten_minutes()) for i in range(1, 10)))
    assert found == [[i] for i in range(1, 10)]
    assert [(asked, len(texts)) for asked, texts in model.batches] == [("b", 1), ("a", 4), ("b", 4)]


def test_a_request_with_a_text_that_fails_does_not_fail_others():
    requests = [("a", [text], in_ten_minutes()) for text in ("first", "good", "bad", "better")]
    (first, good, bad, better), _ = asking(Gated(), 100, *requests)
    assert (first, good, better) == ([5], [4], [6])
    assert isinstance(bad, ValueError)


def test_a_long_request_lets_short_ones_pass_and_keeps_the_order_of_its_texts():
    model = Gated()
    long = ["x" * (i % 9) for i in range(3 * TEXTS)]
    (answer, short), _ = asking(model, 1000, ("a", long, in_ten_minutes()), ("a", ["abc"], in_ten_minutes()))
    assert answer == [len(text) for text in long]
    assert short == [3]
    assert [len(texts) for _, texts in model.batches] == [TEXTS, TEXTS, TEXTS, 1]
    assert model.batches[1][1][0] == "abc"


def test_too_many_waiting_texts_are_refused_and_the_rest_is_answered():
    found, _ = asking(Gated(), 12, *[("a", ["x"] * 5, in_ten_minutes())] * 6)
    assert [answer for answer in found if not isinstance(answer, Refusal)] == [[1] * 5] * 3
    refused = [answer for answer in found if isinstance(answer, Refusal)]
    assert [one.status for one in refused] == [429] * 3
    assert refused[0].headers["Retry-After"]


def test_a_request_ends_at_its_deadline_and_takes_no_further_time():
    model, soon = Gated(), time.monotonic() + 0.05
    requests = ("a", ["x"], soon), ("b", ["y"], soon), ("c", ["z"], in_ten_minutes())
    found, batcher = asking(model, 100, *requests, meanwhile=lambda: asyncio.sleep(0.1))
    assert [one.status for one in found[:2]] == [408, 408]
    assert found[2] == [1]
    assert [asked for asked, _ in model.batches] == ["a", "c"]
    assert batcher.waiting == 0


def test_requests_with_lists_of_labels_or_given_ones_answer_as_the_library(service, animal):
    allow, texts = ["cat", "bee"], ["purr hive", "bark leash"]
    given = [["cat"], []]

    async def both() -> list:
        lists = Question(texts, Asked(3), "animals", allow=allow)
        completed = Question(texts, Asked(3), "animals", given=given)
        return await asyncio.gather(*(service.predict(one, in_ten_minutes()) for one in (lists, completed) * 2))

    found = asyncio.run(both())
    right = [animal.model.predict(texts, 3, allow=allow), animal.model.predict(texts, 3, given=given)]
    for answer, wanted in zip(found, right * 2, strict=True):
        labels = [[one["label"] for one in result["labels"]] for result in answer["results"]]
        assert labels == [[label for label, _ in row] for row in wanted]


def test_a_queue_that_is_full_of_explanations_refuses_more(animal, monkeypatch):
    service = Service([animal], Limits())
    monkeypatch.setattr(animal, "explain", lambda *_: time.sleep(0.002) or {})

    async def many() -> list:
        asked = (service.explain("purr", "cat", None, in_ten_minutes()) for _ in range(40))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(many())
    service.close()
    assert [one.status for one in found if isinstance(one, Refusal)] == [429] * 8


def test_short_texts_do_not_wait_for_texts_that_are_longer_than_a_batch(linear, monkeypatch):
    gate, predict = threading.Event(), linear.predict

    def gated(texts, *rest):
        if len(texts[0]) > 100:
            gate.wait(60)
        return predict(texts, *rest)

    async def long_and_short() -> list:
        long = asyncio.create_task(service.predict(Question(["old tiger " * 2000], Asked(2)), in_ten_minutes()))
        await asyncio.sleep(0.05)
        short = await service.predict(Question(["old tiger"], Asked(2)), in_ten_minutes())
        assert not long.done()
        gate.set()
        return [short, await long]

    service = Service([linear])
    monkeypatch.setattr(linear, "predict", gated)
    found = asyncio.run(long_and_short())
    service.close()
    assert [len(one["results"][0]["labels"]) for one in found] == [2, 2]
