"""Times of the page in Chromium, as people feel them: from a key to labels, from a click to the words behind one.

    python benchmarks/page.py [--texts N] [--name NAME] RUN DATA

It starts `megalabel serve RUN`, and types N training texts of DATA key by key, eight keys per second. Of every key
it takes the time until labels are shown that follow from it: until the frame after the change of the page. A key
whose answer comes after the next key waits for the answer to that one, so that slow answers count in full. Then it
opens each label of the last texts. The floor is the same request from the page's own script, without the page.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from typing import Any

import numpy as np
import psutil
import record
from playwright.sync_api import Page, sync_playwright

import megalabel

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
BETWEEN = 125  # ms from key to key
CHARACTERS = 60  # of a text that are typed
OPENED = 40  # labels
WATCH = """
(() => {
  const keys = [];
  window.latencies = [];
  window.opened = 0;
  document.addEventListener("input", (event) => {
    if (event.target.id === "text" && event.target.value.trim()) keys.push(performance.now());
  }, true);
  const shown = () => {
    const waiting = keys.splice(0);
    requestAnimationFrame(() => setTimeout(() => {
      for (const at of waiting) latencies.push(performance.now() - at);
    }));
  };
  document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(shown).observe(document.getElementById("timing"), {childList: true});
    document.addEventListener("click", (event) => {
      if (event.target.closest(".open")) window.clicked = performance.now();
    }, true);
    new MutationObserver(() => {
      if (!window.clicked || !document.querySelector(".evidence:not([aria-busy]) .words")) return;
      const at = window.clicked;
      window.clicked = 0;
      requestAnimationFrame(() => setTimeout(() => { window.opened = performance.now() - at; }));
    }).observe(document.getElementById("labels"), {childList: true, subtree: true, attributes: true});
  });
})();
"""
ASK = """
async ([path, body]) => {
  const start = performance.now();
  const answer = await fetch(path, {
    method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"},
  });
  await answer.json();
  return performance.now() - start;
}
"""


def started(run: str) -> tuple[subprocess.Popen[str], str]:
    """A server of a run and its address."""
    command = [sys.executable, "-m", "megalabel", "serve", f"measured={run}", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"url=(http://\S+)", line):
            return server, found[1]
    raise SystemExit(f"megalabel serve {run} ended with status {server.wait()}")


def memory(page: Page) -> float:
    """MB of JavaScript objects of the page after a collection of garbage."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def typed(page: Page, texts: list[str]) -> list[float]:
    """Types texts key by key; ms from each key to labels."""
    for text in texts:
        page.fill("#text", "")
        page.wait_for_selector(".row", state="detached")
        page.focus("#text")
        page.keyboard.type(text, delay=BETWEEN)
        page.wait_for_timeout(1000)
    return list(page.evaluate("latencies"))


def opened(page: Page, texts: list[str]) -> tuple[list[float], list[float]]:
    """Opens labels of texts; ms from each click to the words, and of the same requests alone."""
    found, floor = [], []
    for text in texts:
        page.fill("#text", text)
        page.wait_for_timeout(1000)
        for i in range(page.locator(".row").count()):
            row = page.locator(".row").nth(i)
            page.evaluate("window.opened = 0")
            row.locator(".open").click()
            page.wait_for_function("() => window.opened")
            found.append(page.evaluate("window.opened"))
            body = {"text": text, "label": row.locator(".name").inner_text()}
            floor.append(page.evaluate(ASK, ["v1/explain", body]))
            row.locator(".open").click()
            if len(found) == OPENED:
                return found, floor
    return found, floor


def measured(page: Page, texts: list[str]) -> dict[str, tuple[float, str]]:
    """All values by name, with their units."""
    typed(page, texts[:1])  # warms up the server and the page
    page.evaluate("latencies.length = 0")
    before = memory(page)
    keys = typed(page, texts[1:])
    bodies = [{"texts": [text], "k": 10} for text in texts[1:] for _ in range(9)]
    floor = [page.evaluate(ASK, ["v1/predict", body]) for body in bodies]
    opened(page, texts[:1])
    clicks, alone = opened(page, texts[1:])
    held = {"at first": before, "at the end": memory(page)}
    found = {f"memory of the page {when}: MB": (value, "MB") for when, value in held.items()}
    times = {
        "from a key to labels": keys, "the request alone": floor,
        "from a click to words": clicks, "the explanation alone": alone,
    }  # fmt: skip
    for name, values in times.items():
        for q in (50, 95):
            found[f"{name}: p{q}"] = (float(np.percentile(values, q)), "ms")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("data")
    parser.add_argument("--texts", type=int, default=12)
    parser.add_argument("--name", default=None)
    options = parser.parse_args()
    corpus = megalabel.Corpus.open(options.data)
    rows = np.random.default_rng(0).permutation(len(corpus.train))
    long = [corpus.train.texts[int(i)][:CHARACTERS] for i in rows[:1000] if len(corpus.train.texts[int(i)]) > 30]
    chromium: Any = shutil.which("chromium")
    server, address = started(options.run)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page()
            page.add_init_script(WATCH)
            page.goto(address)
            page.wait_for_selector("#about:not(:empty)")
            found = measured(page, long[: options.texts + 1])
            browser.close()
        process = psutil.Process(server.pid)
        held = sum(one.memory_full_info().pss for one in [process, *process.children()]) / 1e6
        found["memory of the server: MB"] = (held, "MB")
    finally:
        server.terminate()
        server.wait()
    size = f"{options.name or corpus.name} {corpus.n_labels:,} labels"
    print(f"load average {os.getloadavg()[0]:.1f}")
    for metric, (value, unit) in found.items():
        print(f"{metric.partition(':')[0]:32} {metric.partition(': ')[2]:4} {value:8.1f} {unit}")
        record.row("page", size, metric, value, unit)


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"{time.perf_counter() - start:.0f} s")
