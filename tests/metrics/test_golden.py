"""Our metrics against napkinXC's numbers, and against loops that follow pyxclib's definitions."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.types import TopK

made = runpy.run_path(str(Path(__file__).with_name("make_golden.py")))
CASES, predictions, training = made["CASES"], made["predictions"], made["training"]
DEPTHS = (1, 2, 3, 4, 5)

# Printed by make_golden.py with napkinXC 0.7.2, numpy 2.4.6, scipy 1.17.1 and Python 3.11.7 in November 2026:
# fractions at k = 1 to 5; "1/p" is the first label's, the last label's and the sum of all. Both inputs hold
# texts without labels, texts without predictions and texts with fewer than five; there are no ties.
#
# pyxclib was not run: pip found no release of it. `by_loops` below stands in for it. It was written for this
# test, in float64, after the definitions in pyxclib's xc_metrics, and shares no code with it or with us.
NAPKINXC = {
    "small": {
        "1/p": [1.580735956776, 3.53305458774, 66.06449755023],
        "P": [0.45, 0.375, 0.2916666666667, 0.25625, 0.215],
        "R": [0.2079166666667, 0.33875, 0.3708333333333, 0.4154166666667, 0.4320833333333],
        "nDCG": [0.45, 0.4331898867743, 0.4142644952866, 0.4245376557631, 0.4236855961783],
        "PSP": [0.4928340801918, 0.5053620998393, 0.4809653966842, 0.5471463057783, 0.5516725244052],
        "PSnDCG": [0.4928340801918, 0.5160262770702, 0.5061210773863, 0.5343549487703, 0.5373307996868],
        "coverage": [0.45, 0.6, 0.6, 0.8, 0.8],
        "macro-F1": [0.1944425770308, 0.2338994826312, 0.244, 0.325563257998, 0.3404204008552],
    },
    "long tail": {
        "1/p": [1.445049011359, 4.624739612073, 601.8375693609],
        "P": [0.42, 0.4025, 0.365, 0.32625, 0.291],
        "R": [0.1369166666667, 0.2529166666667, 0.3346666666667, 0.3910833333333, 0.4250833333333],
        "nDCG": [0.42, 0.4217268901589, 0.4184968142855, 0.4178873795341, 0.4193266562697],
        "PSP": [0.3710413696808, 0.4009529588519, 0.4254320585583, 0.4512390934771, 0.477199158347],
        "PSnDCG": [0.3710413696808, 0.3901192050175, 0.4040228765182, 0.4198284444847, 0.4320930513802],
        "coverage": [0.3880597014925, 0.5522388059701, 0.6417910447761, 0.7238805970149, 0.7910447761194],
        "macro-F1": [0.1581593681572, 0.254654174, 0.2992553970517, 0.3424673881321, 0.3718157644651],
    },
}  # fmt: skip


def padded(ranked: list[list[int]], width: int = 7) -> TopK:
    labels = np.full((len(ranked), width), -1)
    scores = np.full((len(ranked), width), -np.inf, dtype=np.float32)
    for row, guesses in enumerate(ranked):
        labels[row, : len(guesses)] = guesses
        scores[row, : len(guesses)] = np.linspace(1, 0.5, len(guesses))
    return TopK(labels, scores)


def propensities(case: str) -> np.ndarray:
    *_, a, b = CASES[case]
    labels = training(case)
    return inverse_propensity(np.asarray(labels.sum(axis=0)).ravel(), labels.shape[0], a, b)


def ours(case: str) -> dict[str, float]:
    truth, ranked = predictions(case)
    return measure(padded(ranked), truth, k=DEPTHS, inverse_propensity=propensities(case))


@pytest.mark.parametrize("case", CASES)
def test_the_fixed_input_holds_the_hard_rows(case: str) -> None:
    truth, ranked = predictions(case)
    counts = np.diff(truth.indptr)
    assert (counts == 0).sum() > 5 and counts.max() > 5
    assert min(map(len, ranked)) == 0 and max(map(len, ranked)) > 5
    assert sum(len(guesses) < 5 for guesses in ranked) > 30


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["P", "R", "nDCG", "PSP", "PSnDCG", "coverage"])
def test_equal_to_napkinxc(case: str, name: str) -> None:
    values = ours(case)
    assert [values[f"{name}@{k}"] for k in DEPTHS] == pytest.approx(
        [100 * x for x in NAPKINXC[case][name]], rel=4e-12
    )


@pytest.mark.parametrize("case", CASES)
def test_macro_f1_is_napkinxcs_with_another_divisor(case: str) -> None:
    truth, ranked = predictions(case)
    known = len(np.unique(truth.indices))
    values = ours(case)
    for k in DEPTHS:
        predicted = max(label for guesses in ranked for label in guesses[:k])
        divisor = 1 + max(predicted, int(truth.indices.max()))
        expected = 100 * NAPKINXC[case]["macro-F1"][k - 1] * divisor / known
        assert values[f"macro-F1@{k}"] == pytest.approx(expected, rel=4e-12)


@pytest.mark.parametrize("case", CASES)
def test_propensities_equal_napkinxcs(case: str) -> None:
    weights = propensities(case)
    assert [weights[0], weights[-1], weights.sum()] == pytest.approx(NAPKINXC[case]["1/p"], rel=4e-12)


def by_loops(truth: sp.csr_matrix, ranked: list[list[int]], weights: np.ndarray, k: int) -> dict[str, float]:
    """Every metric for one k, text by text."""
    totals = dict.fromkeys(["P", "R", "nDCG", "PSP", "best PSP", "PSnDCG", "best PSnDCG"], 0.0)
    right, predicted, true = (dict.fromkeys(range(truth.shape[1]), 0) for _ in range(3))
    for row, guesses in enumerate(ranked):
        labels = set(truth.indices[truth.indptr[row] : truth.indptr[row + 1]].tolist())
        best = sorted(labels, key=lambda label: -weights[label])[:k]
        # A text without labels has no gains; any divisor other than zero will do.
        ideal = sum(1 / math.log2(j + 2) for j in range(min(k, len(labels)))) or 1.0
        for ranking, prefix in ((guesses[:k], ""), (best, "best ")):
            for j, label in enumerate(ranking):
                if label in labels:
                    totals[f"{prefix}PSP"] += weights[label] / k
                    totals[f"{prefix}PSnDCG"] += weights[label] / math.log2(j + 2) / ideal
                    if not prefix:
                        totals["P"] += 1 / k
                        totals["R"] += 1 / len(labels)
                        totals["nDCG"] += 1 / math.log2(j + 2) / ideal
                        right[label] += 1
        for label in guesses[:k]:
            predicted[label] += 1
        for label in labels:
            true[label] += 1
    known = [label for label in true if true[label]]
    values = {name: totals[name] / len(ranked) for name in ("P", "R", "nDCG")}
    values |= {name: totals[name] / totals[f"best {name}"] for name in ("PSP", "PSnDCG")}
    values["coverage"] = sum(right[label] > 0 for label in known) / len(known)
    values["macro-F1"] = sum(2 * right[x] / (predicted[x] + true[x]) for x in known) / len(known)
    return {f"{name}@{k}": 100 * value for name, value in values.items()}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_loops_over_the_published_definitions(case: str) -> None:
    truth, ranked = predictions(case)
    expected: dict[str, float] = {}
    for k in DEPTHS:
        expected |= by_loops(truth, ranked, propensities(case), k)
    assert ours(case) == pytest.approx(expected, rel=4e-12)
