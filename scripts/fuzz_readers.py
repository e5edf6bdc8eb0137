"""Opens mutated data sets of every format and prints what became of them; see tests/support/reader_fuzz.py.

python scripts/fuzz_readers.py --n 20000 [--first 0] [--show SEED]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1])]

from support.reader_fuzz import faults  # noqa: E402
from support.reader_inputs import mutated, valid  # noqa: E402


def main() -> int:
    """Prints the counts for each format and every fault; the status is 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20000, help="number of inputs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--show", type=int, help="print the files of one seed instead")
    given = parser.parse_args()
    if given.show is not None:
        for name, data in mutated(valid(), given.show).files.items():
            print(f"{name}: {data!r}")
        return 0
    report = faults(range(given.first, given.first + given.n))
    for format in sorted({*report.read, *report.refused}):
        print(f"{format:<20} read {report.read[format]:>6}  refused {report.refused[format]:>6}")
    for fault in report.faults:
        print(f"seed {fault.seed} ({fault.format}): {fault.what}")
    total = sum(report.read.values()) + sum(report.refused.values())
    print(f"{total:,} inputs, {len(report.faults)} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
