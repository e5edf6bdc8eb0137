"""`Server`, one process that answers requests: bounded connections, and an end that answers what was accepted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn

from megalabel.serving.app import create_app
from megalabel.serving.protocol import Connection, bounded
from megalabel.serving.service import Service

LINGER = 1.0  # seconds for which a server that stops keeps an unused connection open
TICKS = 10  # of uvicorn per second
SWITCH = 5e-4  # seconds after which the model's thread lets that of the requests run


class Server(uvicorn.Server):
    """Answers requests until it has to stop.

    To stop, it accepts no further connections and answers with `Connection: close`. An unused connection is kept
    for a second, since a request may be on its way through it, and for as long as there is something to read.

    Args:
        service: what answers.
        origins: other web sites whose pages may ask it.
        on_start: called when requests are accepted.
        parent: the process without which this one ends too; None for any.
    """

    def __init__(
        self,
        service: Service,
        origins: Sequence[str] = (),
        on_start: Callable[[], None] = lambda: None,
        parent: int | None = None,
    ) -> None:
        limits = service.limits
        config = uvicorn.Config(
            create_app(service, origins),
            http=bounded(limits, service.metrics),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.idle_seconds) + 1,
            timeout_graceful_shutdown=int(limits.seconds) + 1,
        )
        super().__init__(config)
        self.service, self._on_start, self._parent = service, on_start, parent
        self._accepting: set[asyncio.Task[object]] = set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves on listening sockets; returns when everything is answered."""
        sys.setswitchinterval(SWITCH)
        try:
            super().run(sockets)
        finally:
            self.service.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept connections."""
        await super().startup(sockets)
        self._on_start()

    async def on_tick(self, counter: int) -> bool:
        """Looks after the connections once a second; returns whether to stop."""
        if counter % TICKS == 0:
            self._look()
            if self._parent is not None and os.getppid() != self._parent:
                self.should_exit = True  # nobody is left who would end or replace this worker
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what was accepted."""
        self.service.draining = True
        self._accept_waiting(sockets or [])
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while self.server_state.connections and loop.time() - begun < self.service.limits.seconds:
            await asyncio.sleep(LINGER / 20)
            if loop.time() - begun >= LINGER:
                self._close_unused(loop.time() - LINGER)
        await super().shutdown(sockets)

    def _accept_waiting(self, sockets: Sequence[socket.socket]) -> None:
        """Accepts connections that the system has made, which it would reset when it stops listening."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            with contextlib.suppress(OSError):  # that nothing more waits
                while True:
                    connection, _ = listening.accept()
                    connection.setblocking(False)
                    made = loop.create_task(loop.connect_accepted_socket(self._connection, connection))
                    self._accepting.add(made)
                    made.add_done_callback(self._accepting.discard)

    def _connection(self) -> asyncio.Protocol:
        config, state = self.config, self.server_state
        made: asyncio.Protocol = config.http_protocol_class(config=config, server_state=state, app_state={})  # type: ignore[call-arg]
        return made

    def _close_unused(self, since: float) -> None:
        """Closes connections that have done nothing since a moment, and of which nothing is left to read.

        A process that did not run for a while would otherwise close connections with requests that came meanwhile.
        """
        unused = [
            one
            for one in self.server_state.connections
            if isinstance(one, Connection)
            and one.is_idle
            and one.since <= since
            and not one.transport.is_closing()
        ]
        with selectors.DefaultSelector() as selector:
            for one in unused:
                selector.register(one.transport.get_extra_info("socket"), selectors.EVENT_READ, one)
            unread = {key.data for key, _ in selector.select(0)} if unused else set()
        for one in unused:
            if one not in unread:
                one.transport.close()

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        connections = list(self.server_state.connections)
        for connection in connections:
            if isinstance(connection, Connection):
                connection.look(now)
        self.service.metrics.connections.set(len(connections))
