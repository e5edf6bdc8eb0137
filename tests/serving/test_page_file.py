"""The file of the page: its size, and the policy that it is served with."""

from __future__ import annotations

import asyncio
import re

import pytest

pytest.importorskip("starlette", reason="the extra serve is not installed")
from megalabel.serving.page import page


def test_the_page_is_one_small_file_that_asks_only_its_server():
    answer = asyncio.run(page(None))
    html, policy = bytes(answer.body).decode(), answer.headers["Content-Security-Policy"]
    assert len(answer.body) <= 150_000
    assert (html.count("<script"), html.count("<style")) == (1, 1)
    assert not re.search(r"""\s(?:src|style|on\w+)=["']""", html)
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
