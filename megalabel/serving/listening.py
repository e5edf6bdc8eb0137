"""The listening sockets of the server: one per worker on the same port; the system divides connections.

They belong to the process that starts the workers, and outlive these: connections that wait while a worker is
replaced are accepted by the next one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from megalabel.errors import SettingError
from megalabel.serving.settings import Settings


def say_where(settings: Settings, sockets: Sequence[socket.socket]) -> None:
    """Logs the address at which clients are answered."""
    host, port = sockets[0].getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    settings.log.event("listening", url=f"http://{host}:{port}", workers=len(sockets))


def bound(host: str, port: int, n: int) -> list[socket.socket]:
    """n sockets at an address, which refuse connections until a worker listens.

    Args:
        host: a name or an address, IPv4 or IPv6.
        port: 0 for a free one.
        n: how many; where the system cannot divide connections, the sockets are one and the same.

    Raises:
        SettingError: the address does not exist here, or the port is in use or not allowed.
    """
    if not 0 <= port < 1 << 16:
        raise SettingError.range("port", port, 0, (1 << 16) - 1, integer=True)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        first = _bound(family, kind, address, shared=False)
        if n > 1 and hasattr(socket, "SO_REUSEPORT") and os.uname().sysname == "Linux":
            # The first one has shown that nobody else listens there, whose connections would be shared.
            address = first.getsockname()
            first.close()
            return [_bound(family, kind, address, shared=True) for _ in range(n)]
        return [first, *(first.dup() for _ in range(n - 1))]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingError(
            f"{host}, port {port}: {reason}",
            wanted="an address of this machine and a port that is free",
            next_step="choose others with --host and --port, or stop what listens there",
            where="port",
        ) from error


def _bound(family: int, kind: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    """A socket at an address; `shared` with others of this user."""
    found = socket.socket(family, kind)
    try:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found
