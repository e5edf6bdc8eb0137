"""Dynamic batches: the texts of several requests are ranked together, up to a number of words.

While a batch is computed in a thread of its own, further requests wait; when it is done, the next batch is made
at once of those that wait. So a single client never waits for others, and many clients share the cost of a call.
Only requests that ask for exactly the same (k, thresholds) share a batch, and models rank each text by itself, so
that an answer never depends on the other texts of its batch. A request of many texts is cut into parts, between
which other requests get their turn; `service.py` has a queue of its own for texts that are longer than a batch.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from megalabel.serving.refusal import Refusal

WORDS = 2048  # of a batch, more only for a single text
TEXTS = 64  # of a batch
LOOK = 0.05  # seconds between two looks for requests whose time is over

Item = tuple[str, Any]  # a text, and what else belongs to it alone, such as the labels that it is known to have
Rank = Callable[[Any, Sequence[Item]], list[Any]]  # the answers for some texts, given what is asked


@dataclass(eq=False)
class _Job:
    """The texts of a request, and the answers so far."""

    asked: Hashable
    texts: Sequence[Item]
    deadline: float
    future: asyncio.Future[list[Any]]
    results: list[Any] = field(default_factory=list)
    taken: int = 0  # texts that are in a batch, or were in one


_Part = tuple[_Job, int, int]  # a request, and the texts of it that are in a batch


class Batcher:
    """The queue in front of a model.

    Args:
        rank: answers a batch; called in `executor`.
        executor: the thread of the model.
        most_waiting: texts of all requests that wait at most.
        watch: called with (texts, words, seconds) after each batch.
    """

    def __init__(
        self,
        rank: Rank,
        executor: Executor,
        most_waiting: int,
        watch: Callable[[int, int, float], None] = lambda *_: None,
    ) -> None:
        self._rank, self._executor, self._most, self._watch = rank, executor, most_waiting, watch
        self._jobs: deque[_Job] = deque()
        self._rest: list[_Job] = []  # requests of which a part is in the batch that is computed
        self._open: set[_Job] = set()
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.waiting = 0  # texts

    async def ask(self, asked: Hashable, texts: Sequence[Item], deadline: float) -> list[Any]:
        """The answers for the texts of a request.

        Raises:
            Refusal: 429 where too many texts wait, 408 where the answer is not there at the deadline.
        """
        if self.waiting and self.waiting + len(texts) > self._most:
            raise Refusal(429, f"{self.waiting:,} texts wait for the model; try again later", {"Retry-After": "1"})
        if not texts:
            return []
        loop = asyncio.get_running_loop()
        job = _Job(asked, texts, deadline, loop.create_future())
        self._jobs.append(job)
        self._open.add(job)
        self.waiting += len(texts)
        if self._running is None:
            self._running = loop.create_task(self._run())
        if self._timer is None:
            self._timer = loop.call_later(LOOK, self._expire)
        try:
            return await job.future
        finally:
            self._open.discard(job)
            job.future.cancel()

    def _expire(self) -> None:
        """Ends the requests whose time is over; one timer for all takes less time than one for each."""
        now = time.monotonic()
        for job in self._open:
            if now >= job.deadline and not job.future.done():
                job.future.set_exception(Refusal(408, "the answer took too long; send fewer or shorter texts"))
        self._timer = asyncio.get_running_loop().call_later(LOOK, self._expire) if self._open else None

    async def _run(self) -> None:
        """Computes batches until nothing waits."""
        try:
            while self._jobs or self._rest:
                parts = self._batch()
                texts = [text for job, start, stop in parts for text in job.texts[start:stop]]
                if not texts:
                    continue
                begun = time.perf_counter()
                await self._answer(parts)
                words = sum(words_in(text) for text, _ in texts)
                self._watch(len(texts), words, time.perf_counter() - begun)
        finally:
            self._running = None

    async def _answer(self, parts: list[_Part]) -> None:
        """Answers a batch; where that fails, each request by itself, so that none fails by another one."""
        texts = [item for job, start, stop in parts for item in job.texts[start:stop]]
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._rank, parts[0][0].asked, texts
            )
        except Exception as error:
            if len(parts) > 1:
                for part in parts:
                    await self._answer([part])
            elif not parts[0][0].future.done():
                parts[0][0].future.set_exception(error)
        else:
            self._hand_out(parts, found)

    def _batch(self) -> list[_Part]:
        """Takes texts of the first job and of others that ask for the same; the rest of a job waits again."""
        self._jobs.extend(self._rest)  # behind what has come meanwhile
        self._rest = []
        parts, words, n = [], 0, 0
        asked: Hashable = None
        kept: deque[_Job] = deque()
        while self._jobs:
            job = self._jobs.popleft()
            if job.future.done():
                self.waiting -= len(job.texts) - job.taken
                continue
            if n and (job.asked != asked or n >= TEXTS or words >= WORDS):
                kept.append(job)
                continue
            asked, start = job.asked, job.taken
            while job.taken < len(job.texts) and n < TEXTS and (not n or words < WORDS):
                words += words_in(job.texts[job.taken][0])
                job.taken, n = job.taken + 1, n + 1
            parts.append((job, start, job.taken))
            if job.taken < len(job.texts):
                self._rest.append(job)
        self._jobs = kept
        self.waiting -= n
        return parts

    def _hand_out(self, parts: list[_Part], found: list[Any]) -> None:
        at = 0
        for job, start, stop in parts:
            job.results += found[at : at + stop - start]
            at += stop - start
            if len(job.results) == len(job.texts) and not job.future.done():
                job.future.set_result(job.results)


def words_in(text: str) -> int:
    """About the number of words of a text, found quickly."""
    return 1 + max(text.count(" "), len(text) // 16)
