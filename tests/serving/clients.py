"""Clients that ask a server over the network without a pause, and note every request without an answer."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time

BODY = json.dumps({"texts": ["near old tiger"], "k": 2})
HEADERS = {"Content-Type": "application/json"}


class Clients:
    """Threads that ask until `stop`; a context manager.

    Attributes:
        answers: the number of answers by status and version of the model.
        lost: what happened to requests that got no answer.
        refused: clients that ended since nobody accepts connections any more.
    """

    def __init__(self, port: int, n: int = 4) -> None:
        self.port, self.answers, self.lost, self.refused = port, {}, [], 0
        self._going = True
        self._threads = [threading.Thread(target=self._ask) for _ in range(n)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._going = False
        for thread in self._threads:
            thread.join()

    def wait_for(self, n: int, seconds: float = 20) -> None:
        """Waits for n further answers."""
        wanted, until = self.n_answers + n, time.monotonic() + seconds
        while self.n_answers < wanted:
            assert time.monotonic() < until, (self.answers, self.lost)
            time.sleep(0.01)

    @property
    def n_answers(self) -> int:
        return sum(self.answers.values())

    @property
    def versions(self) -> set[str]:
        return {version for _, version in self.answers}

    def _ask(self) -> None:
        connection = None
        while self._going:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                try:
                    connection.connect()
                except ConnectionError:
                    self.refused += 1
                    return
            try:
                connection.request("POST", "/v1/predict", BODY, HEADERS)
                answer = connection.getresponse()
                found = json.loads(answer.read())
                key = answer.status, found.get("version")
                self.answers[key] = self.answers.get(key, 0) + 1
                closes = answer.will_close
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                closes = True
            if closes:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


def exchange(port: int, data: bytes, *, seconds: float = 10) -> bytes:
    """What a server answers to some bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found
