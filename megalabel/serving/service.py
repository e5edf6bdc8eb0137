"""`Service`, what the routes of the server call: models, their queues and threads, and the file of feedback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from megalabel.models.asking import Asked
from megalabel.models.label_lists import Choice
from megalabel.serving.batching import WORDS, Batcher, Item, words_in
from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.limits import Limits
from megalabel.serving.logs import Log
from megalabel.serving.metrics import Metrics
from megalabel.serving.question import Feedback, Question
from megalabel.serving.refusal import Refusal
from megalabel.serving.served import ServedModel

T = TypeVar("T")
SLOW_WAITING = 32  # explanations that wait or run


class _Lists:
    """Lists of labels of a request; equal to itself alone, so that requests with lists do not share a batch."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice


class _Asks(NamedTuple):
    """What the requests of a batch ask for alike."""

    asked: Asked
    lists: _Lists | None
    given: bool


class Service:
    """Answers requests.

    Texts, texts that are longer than a batch, and explanations each have a thread of their own, so short texts
    never wait for the others.

    Args:
        models: the models, the default one first.
        limits: the bounds of requests.
        feedback: where feedback is stored; None where it is not taken.
        tokens: secrets of which a client has to know one; none for everybody.
        log: where events go.
        metrics: what is counted.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        limits: Limits | None = None,
        *,
        feedback: FeedbackFile | None = None,
        tokens: Sequence[bytes] = (),
        log: Log | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.models = {model.name: model for model in models}
        self.default = models[0].name
        self.limits, self.feedback, self.tokens = limits or Limits(), feedback, tuple(tokens)
        self.log, self.metrics = log or Log(), metrics or Metrics()
        self.draining = False  # whether the server is about to stop
        names = ("predict", "long", "explain")
        self._fast, self._long, self._slow = (ThreadPoolExecutor(1, f"megalabel-{name}") for name in names)
        self._slow_waiting = 0
        self._queues = {model.name: self._queue(model, self._fast) for model in models}
        self._long_queues = {model.name: self._queue(model, self._long) for model in models}
        for model in models:
            self.metrics.models.labels(model.name, model.version).set(1)

    def model(self, name: str | None) -> ServedModel:
        """A model by its name, the default one for None; Refusal with 404."""
        found = self.models.get(self.default if name is None else name)
        if found is None:
            raise Refusal(404, f"no model is called {name!r:.80}; there are {', '.join(self.models)}")
        return found

    def facts(self) -> list[dict[str, Any]]:
        """The facts about the models that clients get."""
        more = {"feedback": self.feedback is not None}
        return [{**m.facts(), **more, "default": m.name == self.default} for m in self.models.values()]

    async def predict(self, question: Question, deadline: float) -> dict[str, Any]:
        """The answer to a request for predictions."""
        model = self.model(question.model)
        asked = model.checked(question.asked)
        lists = None
        if question.allow is not None or question.deny is not None:
            lists = _Lists(await asyncio.to_thread(model.choice, question.allow, question.deny))
        known: list[list[int]] = [[] for _ in question.texts]
        if question.given is not None:
            known = await asyncio.to_thread(model.given, question.given)
        items = list(zip(question.texts, known, strict=True))
        asks = _Asks(asked, lists, any(known))
        has_long = any(words_in(text) > WORDS for text in question.texts)
        queues = self._long_queues if has_long else self._queues
        results = await queues[model.name].ask(asks, items, deadline)
        if question.explain:
            results = await self._with_evidence(model, question.texts, results, deadline)
        shown = [{key: result[key] for key in ("labels", "evidence") if key in result} for result in results]
        kind = results[0]["score_type"] if results else asked.kind(model.model)
        return {"model": model.name, "version": model.version, "score_type": kind, "results": shown}

    async def explain(self, text: str, label: str, name: str | None, deadline: float) -> dict[str, Any]:
        """Why a model gives a text a label, or does not."""
        model = self._explaining(name)
        ids = model.ids("label", [label])
        found = await self._slowly(partial(model.explain, text, int(ids[0])), deadline)
        return {"model": model.name, "version": model.version, **found}

    async def labels(self, query: str, limit: int, name: str | None) -> dict[str, Any]:
        """The labels that a beginning of their name finds."""
        model = self.model(name)
        return {"labels": [model.label(i) for i in model.search.search(query, limit)]}

    async def store(self, found: Feedback) -> dict[str, Any]:
        """Adds a line to the file of feedback."""
        if self.feedback is None:
            raise Refusal(404, "this server takes no feedback; it was started without --feedback")
        model = self.model(found.model)
        found = found.renamed(model.names_of)
        try:
            await asyncio.to_thread(self.feedback.append, found, model.name, model.version)
        except OSError as error:
            self.log.event("feedback not stored", error=str(error))
            raise Refusal(503, "the feedback could not be stored; try again later") from error
        self.metrics.feedback.labels(model.name).inc()
        return {"stored": True, "labels": found.labels, "rejected": found.rejected}

    def warm_up(self) -> None:
        """Lets the thread that ranks begin, so that the first client does not wait for it."""
        for model in self.models.values():
            self._fast.submit(model.warm_up).result()

    def close(self) -> None:
        """Ends the threads."""
        for executor in (self._fast, self._long, self._slow):
            executor.shutdown()

    def _queue(self, model: ServedModel, executor: Executor) -> Batcher:
        def rank(asks: _Asks, items: Sequence[Item]) -> list[Any]:
            choice = Choice() if asks.lists is None else asks.lists.choice
            given = [own for _, own in items] if asks.given else None
            return model.predict([text for text, _ in items], asks.asked, choice, given)

        def watch(texts: int, words: int, seconds: float) -> None:
            queues = self._queues[model.name], self._long_queues[model.name]
            self.metrics.batch(model.name, texts, words, seconds, sum(queue.waiting for queue in queues))

        return Batcher(rank, executor, self.limits.waiting_texts, watch)

    def _explaining(self, name: str | None) -> ServedModel:
        model = self.model(name)
        if not model.explains:
            raise Refusal(422, f"model: {model.name} cannot explain its labels")
        return model

    async def _with_evidence(
        self, model: ServedModel, texts: Sequence[str], results: list[dict[str, Any]], deadline: float
    ) -> list[dict[str, Any]]:
        """The results with the words behind each label."""
        self._explaining(model.name)
        n, most = sum(len(result["labels"]) for result in results), self.limits.explained
        if n > most:
            raise Refusal(422, f"explain: {n:,} labels are more than {most:,}; send fewer texts or a smaller k")
        found = []
        for text, result in zip(texts, results, strict=True):
            ids = [label["id"] for label in result["labels"]]
            evidence = await self._slowly(partial(model.evidence, text, ids), deadline)
            found.append({**result, "evidence": evidence})
        return found

    async def _slowly(self, work: Callable[[], T], deadline: float) -> T:
        """The result of something slow, in the thread for it; Refusal with 429 or 408."""
        if self._slow_waiting >= SLOW_WAITING:
            raise Refusal(429, "too many explanations wait; try again later", {"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        self._slow_waiting += 1
        try:
            async with asyncio.timeout_at(loop.time() + max(0.0, deadline - time.monotonic())):
                return await loop.run_in_executor(self._slow, work)
        except TimeoutError:
            raise Refusal(408, "the explanation took too long; send a shorter text") from None
        finally:
            self._slow_waiting -= 1
