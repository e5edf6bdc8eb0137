"""Accessibility by the rules of axe-core in both color schemes; the size of the file, and the policy with it."""

from __future__ import annotations

import re

from support.browser import axe_script, opened
from support.page_steps import answer_with

from megalabel.serving.page import page_response


def test_axe_finds_nothing_serious_and_nothing_is_wider_than_a_phone(browser, address, tmp_path):
    script = axe_script(tmp_path)
    for scheme, width in (("light", 1280), ("dark", 360)):
        size = {"width": width, "height": 800}
        with opened(browser, address, color_scheme=scheme, viewport=size, bypass_csp=True) as page:
            page.evaluate(script)
            found = [violations(page)]
            long = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenhalterung"
            answer_with(page, [("cat", 0.9), (long, 0.5), ("آلة موسيقية وترية", 0.1)], "calibrated")
            page.fill("#text", "purr whisker")
            page.click(".row:first-child .open")
            page.wait_for_selector(".words")
            page.click("[aria-label='Accept cat']")
            page.click(f"[aria-label='Reject {long}']")
            page.fill("#search", "b")
            page.wait_for_selector("[role=option]")
            found.append(violations(page))
            page.press("#search", "Escape")
            page.click("#show-keys")
            found.append(violations(page))
            assert found == [[], [], []]
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def violations(page):
    """What axe-core finds to be serious or critical."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [rule for rule in found if rule["impact"] in ("serious", "critical")]


def test_the_page_is_one_small_file_that_asks_only_its_server():
    answer = page_response()
    html, policy = bytes(answer.body).decode(), answer.headers["Content-Security-Policy"]
    assert len(answer.body) <= 150_000
    assert (html.count("<script"), html.count("<style")) == (1, 1)
    assert not re.search(r"""\s(?:src|style|on\w+)=["']""", html)
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
