"""Connections that are slow, idle, too many or not HTTP: they end, and others are answered meanwhile."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from serving.clients import BODY, Clients, exchange

from megalabel.serving import server as server_module
from megalabel.serving.limits import Limits
from megalabel.serving.listening import bound
from megalabel.serving.server import Server
from megalabel.serving.service import Service

QUICK = Limits(
    seconds=0.8, header_seconds=0.3, idle_seconds=0.5, header_bytes=2000, connections=3, body_bytes=4000
)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(server_module, "TICKS", 1)
    monkeypatch.setattr(server_module, "LINGER", 0.3)


@contextmanager
def running(model, limits: Limits = QUICK):
    """A server in a thread, and its port."""
    model.warm_up()
    service, (listening,) = Service([model], limits), bound("127.0.0.1", 0, 1)
    port, started = listening.getsockname()[1], threading.Event()
    server = Server(service, on_start=started.set)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    assert started.wait(10)
    try:
        yield port, server
    finally:
        server.should_exit = True
        thread.join()


def request(*, body: str = BODY, more: str = "", close: bool = True) -> bytes:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{more}"
    head += "Connection: close\r\n" * close
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def status(answer: bytes) -> int:
    """The status of an answer, whose body has to be JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)
    return int(head.split()[1])


def test_what_is_wrong_on_a_connection_is_answered_and_ends_it(linear):
    with running(linear) as (port, _):
        assert status(exchange(port, request())) == 200
        assert status(exchange(port, b"\x16\x03\x01 hello\r\n\r\n")) == 400
        assert status(exchange(port, b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nX: ")) == 408  # a slow head
        assert status(exchange(port, b"GET / HTTP/1.1\r\nX: " + b"x" * 5000)) == 431
        assert status(exchange(port, request(body=BODY[:-1] + " " * 5000 + "}"))) == 413
        slow_body = b"POST /v1/predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        assert status(exchange(port, slow_body)) == 408
        assert exchange(port, b"") == b""  # nothing at all
        assert exchange(port, b"\r\n") == b""
        assert status(exchange(port, request())) == 200


def test_bytes_that_trickle_in_do_not_keep_a_connection(linear):
    with running(linear) as (port, _), socket.create_connection(("127.0.0.1", port)) as slow:
        begun = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 100:
                slow.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - begun < 5


def test_a_connection_beyond_the_limit_is_told_so_and_a_place_becomes_free_again(linear):
    with running(linear) as (port, _):
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(QUICK.connections)]
        time.sleep(0.05)
        assert status(exchange(port, b"")) == 503
        for connection in idle:
            connection.settimeout(10)
            assert connection.recv(100) == b""  # an unused connection is closed
            connection.close()
        assert status(exchange(port, request())) == 200


def test_requests_of_a_connection_are_answered_in_their_order(linear):
    with running(linear) as (port, _):
        bodies = [BODY.replace("tiger", animal) for animal in ("owl", "salmon")]
        answer = exchange(port, request(body=bodies[0], close=False) + request(body=bodies[1]))
        best = [part.split(b'"label":"')[1].split(b'"')[0] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        assert best == [linear.model.predict([f"near old {a}"], 1)[0][0][0].encode() for a in ("owl", "salmon")]


def test_a_client_that_does_not_read_its_answers_is_cut_off(linear):
    with running(linear) as (port, server):
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.connect(("127.0.0.1", port))
            page = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
            greedy.settimeout(0.2)
            with pytest.raises(OSError):
                for _ in range(10_000):
                    greedy.sendall(page * 50)
            until = time.monotonic() + 10
            while server.server_state.connections and time.monotonic() < until:
                time.sleep(0.05)
            assert not server.server_state.connections
        assert status(exchange(port, request())) == 200


def test_a_server_that_stops_answers_what_it_accepted_and_nothing_more(linear):
    patient = dataclasses.replace(QUICK, connections=100, seconds=10, header_seconds=10, idle_seconds=10)
    with running(linear, patient) as (port, server):
        with Clients(port) as clients:
            clients.wait_for(50)
            server.should_exit = True
            until = time.monotonic() + 10
            while clients.refused < 4 and time.monotonic() < until:
                time.sleep(0.01)
        assert clients.refused == 4
    assert not clients.lost
    assert set(clients.answers) == {(200, linear.version)}
