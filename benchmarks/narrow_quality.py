"""Quality of renee with narrow weights, as the difference to float32 with the same seed.

python benchmarks/narrow_quality.py DATA [--encoder bag] [--seeds 0 1 2] [--weights bfloat16 float8] [--no-record]

The preset of the data set, chosen with float32, is used for all types; nothing is chosen here, so that the test
side is what is measured.

Expected before the first run: differences within the deviation of seeds, about 0.3 P@1 on wordnet-4k; less on
wordnet, whose test side is larger.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import record
from data_sets import opened

import megalabel
from megalabel.recipes import from_preset

METRICS = ("P@1", "P@5", "PSP@1", "PSP@5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--recipe", default="renee")
    parser.add_argument("--encoder", default="bag")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weights", nargs="+", default=["bfloat16", "float8"])
    parser.add_argument("--momentum-dtype", default="float32")
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    data = opened(options.data)
    found: dict[str, dict[str, list[float]]] = {}
    for seed in options.seeds:
        for weights in ["float32", *options.weights]:
            more = {"momentum_dtype": options.momentum_dtype} if weights != "float32" else {}
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as scratch:
                made = from_preset(
                    options.recipe, data, encoder=options.encoder, seed=seed, weights=weights, **more
                )
                model = megalabel.train(made, Path(scratch) / "run", quiet=True)
                measured = megalabel.evaluate(model, data)
            values = {metric: measured[metric] for metric in METRICS}
            print(
                seed,
                weights,
                {k: round(v, 2) for k, v in values.items()},
                f"{time.perf_counter() - begun:.0f} s",
                flush=True,
            )
            for metric, value in values.items():
                found.setdefault(weights, {}).setdefault(metric, []).append(value)
    size = f"{data.name} {options.recipe} {options.encoder} {len(options.seeds)} seeds"
    for weights, metrics in found.items():
        kind = weights + (", momentum too" if options.momentum_dtype != "float32" != weights else "")
        for metric, values in metrics.items():
            less = [a - b for a, b in zip(values, found["float32"][metric], strict=True)]
            spread = statistics.stdev(less) if len(less) > 1 else 0.0
            mean = statistics.mean(less)
            print(f"{kind:24} {metric:6} {statistics.mean(values):7.2f}  {mean:+6.2f} ± {spread:.2f}")
            if not options.no_record:
                record.row("narrow_quality", size, f"{kind}: {metric}", statistics.mean(values), "%")
                record.row(
                    "narrow_quality", size, f"{kind}: {metric} less float32", statistics.mean(less), "points"
                )
                record.row("narrow_quality", size, f"{kind}: {metric} deviation", spread, "points")


if __name__ == "__main__":
    main()
