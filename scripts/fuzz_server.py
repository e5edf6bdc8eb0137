"""Sends wrong and hostile requests to `megalabel serve`, and counts what becomes of them.

    python scripts/fuzz_server.py [--n 300] [--seed 0] [--schemathesis COMMAND] [--examples 200]

Right is an answer below 500, or the end of the connection for bytes that are no HTTP; in the end the server has to
answer as before, and its log must not hold an error. With --schemathesis, the command of an environment in which
schemathesis is installed, that also asks with what it makes of /openapi.json.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from serve_clients import predict_requests, request  # noqa: E402
from serve_process import Running  # noqa: E402

# A schema cannot say that a label has to exist, and schemathesis does not take 413 for a refusal.
LEFT_OUT = "positive_data_acceptance,negative_data_rejection"
USUAL = ("loaded", "listening", "stopping", "stopped")  # events
WRITTEN = ROOT / "tests" / "data" / "v0.1.0"
RIGHT = [
    *predict_requests(["near old tiger"]),
    request("POST", "/v1/predict", {"texts": ["a", "b"], "k": 3, "threshold": 0.1, "deny": ["owl"]}),
    request("POST", "/v1/explain", {"text": "near old tiger", "label": "tiger"}),
    request("POST", "/v1/feedback", {"text": "near old tiger", "accepted": ["tiger"], "rejected": ["owl"]}),
    request("GET", "/v1/labels?q=ti&limit=3"),
    request("GET", "/metrics"),
    request("POST", "/annif/v1/projects/linear/suggest-batch", {"documents": [{"text": "tiger"}]}),
]
HEADERS = (
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 5\r\nContent-Length: 7",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: close", b"Content-Type: text/html", b"X y", b": x",
    b"Content-Encoding: gzip", b"Host: \xff\x00", b"X: " + b"y" * 40_000, b"Authorization: Bearer x",
    b"Origin: null", b"Cookie: " + b"a=b; " * 2000, b"If-None-Match: *", b"Range: bytes=0-1",
)  # fmt: skip
WORDS = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 4000, b"null", b"true", b"[]", b"{}", b'"\\ud800"', b'"\\u0000"',
    b"[" * 2000, b'{"a":' * 500, b"\xff\xfe", b"\x00", b"../../etc/passwd", b"%2e%2e%2f", b"%00", b"?", b"#",
    b"//", b"\r\n\r\n", b"*", b'"' + b"x" * 30_000 + b'"',
)  # fmt: skip
METHODS = (b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"TRACE")
VERSIONS = (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"", b"ICE/1.0")


def mutated(draw: random.Random) -> bytes:
    """A right request with one to three changes."""
    data = draw.choice(RIGHT)
    for _ in range(draw.randint(1, 3)):
        head, _, body = data.partition(b"\r\n\r\n")
        at, word = draw.randrange(len(data) + 1), draw.choice(WORDS)
        some = bytes(draw.randrange(256) for _ in range(draw.randint(1, 8)))
        data = draw.choice(
            [
                data[:at],
                data[:at] + some + data[at:],
                data[:at] + word + data[at:],
                head + b"\r\n" + draw.choice(HEADERS) + b"\r\n\r\n" + body,
                head.replace(b"POST", draw.choice(METHODS)) + b"\r\n\r\n" + body,
                head + b"\r\n\r\n" + body.replace(draw.choice([b":", b",", b'"', b"[", b"a"]), word, 1),
                data + draw.choice(RIGHT),
                data.replace(b"HTTP/1.1", draw.choice(VERSIONS)),
            ]
        )
    return data


def sent(port: int, data: bytes, seconds: float = 0.5, *, last: bool = True) -> str:
    """What became of some bytes: a status, "closed", or "open" where the server waits for more.

    last: whether the client says that it sends nothing more, for which a server may take it as gone.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
            if last:
                connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536)
        except TimeoutError:
            return "open"
        except OSError:
            return "closed"
    return answer[9:12].decode("ascii", "replace") if answer else "closed"


def by_schema(command: str, port: int, examples: int, seed: int) -> int:
    """Asks with what schemathesis makes of the document of the server; returns its exit status."""
    url = f"http://127.0.0.1:{port}/openapi.json"
    cases = ("--max-examples", str(examples), "--seed", str(seed))
    return subprocess.run([command, "run", url, *cases, "--exclude-checks", LEFT_OUT]).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schemathesis", default="")
    parser.add_argument("--examples", type=int, default=200, help="cases per route, at most")
    given = parser.parse_args()
    draw, found, status = random.Random(given.seed), collections.Counter[str](), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("linear", "renee"):
            shutil.copytree(WRITTEN / name / "run", place / name)
        with Running(str(place / "linear"), str(place / "renee"), "--feedback", f"{folder}/said.jsonl") as server:
            for _ in range(given.n):
                found[sent(server.port, mutated(draw))] += 1
            print(dict(found))
            if given.schemathesis:
                status = by_schema(given.schemathesis, server.port, given.examples, given.seed)
            alive = sent(server.port, RIGHT[0], 30, last=False)
        wrong = [event for event in server.events if event["event"] not in USUAL]
        print(f"in the end: {alive}; in the log: {json.dumps(wrong, indent=1)}")
    return int(bool(wrong or status or alive != "200" or any(kind[:1] == "5" for kind in found)))


if __name__ == "__main__":
    sys.exit(main())
