"""What `megalabel report` of a run takes, beside `megalabel evaluate` of it: time, memory, size of the page.

    python benchmarks/report.py RUN

Both are processes of their own, one after the other. CPU seconds hardly depend on other load on the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from megalabel.models.base import load

MB = 1e6


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        pages = [Path(folder, name) for name in ("a.html", "b.html")]
        floor = taken("evaluate", str(options.run), "-o", f"{folder}/metrics.json")
        ours, _ = (taken("report", str(options.run), "-o", str(page)) for page in pages)
        digests = {hashlib.sha256(page.read_bytes()).hexdigest() for page in pages}
        found = {f"{word}: {name}": value for word, part in (("evaluate", floor), ("report", ours))
                 for name, value in part.items()}  # fmt: skip
        found["report: page"] = (pages[0].stat().st_size / MB, "MB")
        found["report: same bytes again"] = (float(len(digests) == 1), "1 = yes")
    size = f"{options.run.name} L={len(load(options.run).label_texts)}"
    print(size, *(f"{name:28} {value:10.4g} {unit}" for name, (value, unit) in found.items()), sep="\n")
    if not options.no_record:
        import record

        for name, (value, unit) in found.items():
            record.row("report", size, name, value, unit)


def taken(*arguments: str) -> dict[str, tuple[float, str]]:
    """Seconds and peak memory of a command of megalabel."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "megalabel", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"megalabel {' '.join(arguments)} failed")
    return {
        "wall": (time.monotonic() - begun, "s"),
        "CPU": (usage.ru_utime + usage.ru_stime, "s"),
        "peak": (usage.ru_maxrss * 1024 / MB, "MB"),
    }


if __name__ == "__main__":
    main()
