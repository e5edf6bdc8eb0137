"""A headless Chromium, a server in a thread, and the accessibility rules of axe-core, for tests of the page."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
AXE = "axe-core@4.14.1"
PATIENCE = 60  # seconds until what a test waits for has failed; a busy machine is slow


def chromium_path() -> str:
    """The program; skips the test where it or playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="the Python package playwright is missing")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("Chromium is missing")
    return path


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright, whose event loop runs in this thread until the end."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def served(service: Any) -> Iterator[str]:
    """The address of a server for a `Service`, which runs in a thread of this process."""
    from megalabel.serving.listening import bound
    from megalabel.serving.server import Server

    interval = sys.getswitchinterval()
    (listening,) = bound("127.0.0.1", 0, 1)
    begun = threading.Event()
    server = Server(service, on_start=begun.set)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        assert begun.wait(30), "the server did not start"
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        sys.setswitchinterval(interval)


@contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page in a context of its own. No script may fail, and the content security policy must refuse nothing."""
    context = browser.new_context(**options)
    page, troubles = context.new_page(), []
    page.set_default_timeout(PATIENCE * 1000)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if "Content Security" in line.text else None)
    page.goto(address)
    yield page
    context.close()
    assert not troubles


def axe_script(folder: Path) -> str:
    """The source of axe-core from the npm registry; skips the test where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing")
    command = [npm, "pack", "--silent", "--fetch-retries=0", AXE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {AXE}")
    with tarfile.open(folder / done.stdout.strip()) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()
