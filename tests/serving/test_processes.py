"""The command itself: workers that are replaced, a new version of the model, and the end, under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from serving.clients import BODY, HEADERS, Clients
from serving.conftest import WRITTEN

import megalabel
from megalabel.serving.versions import version_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@contextlib.contextmanager
def serving(*arguments: str):
    """A server process, and its events as they come."""
    command = [sys.executable, "-m", "megalabel", "serve", *arguments, "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process, (json.loads(line) for line in process.stderr)
    finally:
        workers = children(process)
        process.kill()
        process.wait()
        process.stderr.close()
        wait_until(lambda: not any(map(is_alive, workers)))  # a worker ends with the process that started it


def children(process: subprocess.Popen) -> set[int]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return {int(number) for number in done.stdout.split()}


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(what, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def next_event(events, name: str) -> dict:
    return next(event for event in events if event["event"] == name)


def test_no_request_is_lost_while_workers_die_models_change_and_the_server_stops(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN / "linear" / "run", run)
    with serving(str(run), "--workers", "2", "--watch", "0.2") as (process, events):
        port = int(re.search(r":(\d+)$", next_event(events, "listening")["url"])[1])
        with Clients(port) as clients:
            clients.wait_for(100)
            first = version_of(run)
            assert clients.versions == {first}

            changed = megalabel.load(run).rename_labels({"tiger": "panther"})
            before = children(process)
            changed.save(run / "model")
            next_event(events, "swapped")
            wait_until(lambda: version_of(run) in clients.versions)
            wait_until(lambda: not before & children(process))
            assert len(before) == len(children(process)) == 2

            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(20) == 0
        assert not clients.lost
        assert {status for status, _ in clients.answers} == {200}
        assert [event["event"] for event in events] == ["stopping", "stopped"]


def test_a_worker_that_dies_is_replaced_and_a_damaged_version_is_not_swapped_in(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN / "linear" / "run", run)
    with serving(str(run), "--watch", "0.1") as (process, events):
        port = int(re.search(r":(\d+)$", next_event(events, "listening")["url"])[1])
        with Clients(port, 1) as clients:
            clients.wait_for(5)
        (worker,) = children(process)
        os.kill(worker, signal.SIGKILL)
        assert next_event(events, "worker died")["pid"] == worker

        (run / "model" / "labels.jsonl").write_text('"other"\n')
        os.utime(run / "model" / "manifest.json")
        manifest = run / "model" / "manifest.json"
        manifest.write_text(manifest.read_text() + "\n")
        assert next_event(events, "new version not loaded")["model"] == "run"
        with Clients(port, 1) as clients:
            clients.wait_for(5)
        assert not clients.lost


def test_a_worker_that_stood_still_while_it_ended_answers_what_came_meanwhile():
    with serving(str(WRITTEN / "linear" / "run")) as (process, events):
        port = int(re.search(r":(\d+)$", next_event(events, "listening")["url"])[1])
        (worker,) = children(process)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/v1/predict", BODY, HEADERS)
        connection.getresponse().read()
        os.kill(process.pid, signal.SIGTERM)
        assert next_event(events, "stopping")
        time.sleep(0.3)  # of the second for which an unused connection is kept
        os.kill(worker, signal.SIGSTOP)
        time.sleep(1.2)  # as on a machine with far too much to do
        connection.request("POST", "/v1/predict", BODY, HEADERS)
        os.kill(worker, signal.SIGCONT)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (200, "close")
        connection.close()
        assert process.wait(20) == 0
