"""The page for people at `/`: one file with its script and style, and a policy that lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.responses import Response


def page_response() -> Response:
    """The page with its policy."""
    html = _html()
    headers = {"Content-Security-Policy": policy_of(html), "Referrer-Policy": "no-referrer"}
    return Response(html, media_type="text/html", headers=headers)


@cache
def policy_of(html: str) -> str:
    """A content security policy under which the script and the style of a page run, but no others.

    The page may ask its own server alone, load nothing, and be shown in no frame.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash_of(html, 'script')}",
            f"style-src {_hash_of(html, 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    )


@cache
def _html() -> str:
    return (files("megalabel.serving") / "page.html").read_text(encoding="utf-8")


def _hash_of(html: str, tag: str) -> str:
    """The hash of the content of the only element with a tag, as a policy names it."""
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
