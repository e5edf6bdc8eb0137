"""Runs the server."""

from __future__ import annotations

import sys

from megalabel.serving.app import create_app
from megalabel.serving.service import Service


def run(service: Service, host: str, port: int) -> None:
    """Serves until the process is told to stop."""
    import uvicorn

    sys.setswitchinterval(5e-4)  # seconds: the model's thread hands over to that of the requests soon
    uvicorn.run(create_app(service), host=host, port=port, log_level="warning", access_log=False)
