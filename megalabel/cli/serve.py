"""`megalabel serve`: answer over HTTP with one or more models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megalabel.cli.arguments import MOST_THREADS, Trust, complete, trusting
from megalabel.errors import SettingError

FORMATS = ("text", "json")
LARGEST = {"threads": MOST_THREADS, "workers": 256}
MOST = 1 << 40  # of all other whole numbers
LONGEST = 86_400.0  # seconds
Runs = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Run folders or model folders; NAME=RUN names a model.")
]
Host = Annotated[
    str, typer.Option(metavar="HOST", help="The address to listen on; 0.0.0.0 for all of the machine.")
]
Port = Annotated[int, typer.Option(metavar="INT", help="The port to listen on; 0 for a free one.")]
Workers = Annotated[
    int, typer.Option(metavar="INT", help="Processes that answer; they share the memory of models.")
]
Threads = Annotated[
    int | None, typer.Option(metavar="INT", help="CPU threads of a worker; default: cores divided by workers.")
]
Mapped = Annotated[
    bool, typer.Option("--mapped", help="Leave the weights of linear trees in their files: less memory, slower.")
]
FeedbackTo = Annotated[
    Path | None, typer.Option("--feedback", metavar="FILE", help="Append feedback to a file of JSON lines.")
]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Tokens, one per line, of which clients have to send one.")
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--allow-origin", metavar="URL", help="A web site whose pages may ask the server; repeatable."),
]
MaxBody = Annotated[int, typer.Option(metavar="INT", help="Bytes of the body of a request.")]
MaxTexts = Annotated[int, typer.Option(metavar="INT", help="Texts per request.")]
MaxK = Annotated[int, typer.Option("--max-k", metavar="INT", help="Labels per text.")]
MaxWaiting = Annotated[
    int, typer.Option(metavar="INT", help="Texts that wait for a model; more are refused (429).")
]
MaxConnections = Annotated[int, typer.Option(metavar="INT", help="Open connections of a worker.")]
Timeout = Annotated[float, typer.Option(metavar="FLOAT", help="Seconds that a request may take.")]
Watch = Annotated[
    float, typer.Option(metavar="FLOAT", help="Seconds between looks for new versions of models; 0 for none.")
]
LogFormat = Annotated[
    str,
    typer.Option(
        metavar="FORMAT", help="Of the log on standard error: text or json.", autocompletion=complete(FORMATS)
    ),
]
LogRequests = Annotated[bool, typer.Option("--log-requests", help="Log each request.")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1.")]


def serve(
    runs: Runs,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    threads: Threads = None,
    mapped: Mapped = False,
    feedback: FeedbackTo = None,
    token_file: TokenFile = None,
    allow_origin: Origins = None,
    max_body: MaxBody = 1 << 20,
    max_texts: MaxTexts = 256,
    max_k: MaxK = 1000,
    max_waiting: MaxWaiting = 2048,
    max_connections: MaxConnections = 1000,
    timeout: Timeout = 30.0,
    watch: Watch = 2.0,
    log_format: LogFormat = "text",
    log_requests: LogRequests = False,
    trust: Trust = None,
    device: Device = "cpu",
) -> None:
    """Answer over HTTP with one or more models: predictions, explanations, label search, feedback, a page."""
    from megalabel.serving.limits import Limits
    from megalabel.serving.logs import Log
    from megalabel.serving.run import run
    from megalabel.serving.settings import Settings, named_runs, read_tokens

    if log_format not in FORMATS:
        raise SettingError.choice("log_format", log_format, FORMATS)
    sizes = {"max_body": max_body, "max_texts": max_texts, "max_k": max_k, "max_waiting": max_waiting,
             "max_connections": max_connections, "threads": threads, "workers": workers}  # fmt: skip
    for name, value in sizes.items():
        most = LARGEST.get(name, MOST)
        if value is not None and not 1 <= value <= most:
            raise SettingError.range(name, value, 1, most, integer=True)
    if not 0 < timeout <= LONGEST:
        raise SettingError.range("timeout", timeout, 0, LONGEST, above=True)
    if not 0 <= watch <= LONGEST:
        raise SettingError.range("watch", watch, 0, LONGEST)
    limits = Limits(
        max_body, max_texts, max_k, waiting_texts=max_waiting, connections=max_connections, seconds=timeout
    )
    log = Log("json" if log_format == "json" else "text", requests=log_requests)
    tokens, origins, trusted = read_tokens(token_file), allow_origin or (), trust or ()
    place = named_runs(runs), host, port, workers, threads
    with trusting(trust):
        run(Settings(*place, mapped, limits, feedback, tokens, origins, watch, device, trusted, log))
