"""Regenerates the golden numbers of test_golden.py with napkinXC, in an environment of its own.

    python -m venv golden && golden/bin/pip install napkinxc==0.7.2 && golden/bin/python make_golden.py

`predictions` and `training` are the fixed input, which the test reads from here too. They draw on
`random.Random.random` alone, whose sequence Python promises to keep.
"""

from __future__ import annotations

import random

import numpy as np
import scipy.sparse as sp

# seed, test texts, training texts, labels, A, B
CASES = {"small": (1, 40, 90, 25, 0.55, 1.5), "long tail": (2, 200, 500, 150, 0.6, 2.6)}
DEPTH = 5


def draw(rng: random.Random, n_labels: int, most: int) -> list[int]:
    """0 to `most` different labels, low ids far more often than high ones."""
    wanted = int(rng.random() * (most + 1))
    found: list[int] = []
    while len(found) < wanted:
        label = int(n_labels * rng.random() ** 3)
        if label not in found:
            found.append(label)
    return found


def matrix(rows: list[list[int]], n_labels: int) -> sp.csr_matrix:
    indices = [label for row in rows for label in sorted(row)]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return sp.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(len(rows), n_labels))


def predictions(case: str) -> tuple[sp.csr_matrix, list[list[int]]]:
    """True labels (N, L), and for each text 0 to 7 predicted labels, best first; both may be empty."""
    seed, n, _, n_labels, _, _ = CASES[case]
    rng = random.Random(seed)
    true, ranked = [], []
    for _ in range(n):
        labels = draw(rng, n_labels, 6)
        guesses = [label for label in labels if rng.random() < 0.5]
        guesses += [label for label in draw(rng, n_labels, 4) if label not in guesses]
        for at in range(len(guesses) - 1, 0, -1):  # a shuffle
            other = int(rng.random() * (at + 1))
            guesses[at], guesses[other] = guesses[other], guesses[at]
        true.append(labels)
        ranked.append(guesses[:7])
    return matrix(true, n_labels), ranked


def training(case: str) -> sp.csr_matrix:
    """The label matrix from which the propensities come."""
    seed, _, n, n_labels, _, _ = CASES[case]
    rng = random.Random(seed + 100)
    return matrix([draw(rng, n_labels, 6) for _ in range(n)], n_labels)


def main() -> None:
    from napkinxc import metrics

    for case, (*_, a, b) in CASES.items():
        truth, ranked = predictions(case)
        weights = np.asarray(metrics.Jain_et_al_inverse_propensity(training(case), A=a, B=b))
        values = {
            "P": metrics.precision_at_k(truth, ranked, k=DEPTH),
            "R": metrics.recall_at_k(truth, ranked, k=DEPTH),
            "nDCG": metrics.ndcg_at_k(truth, ranked, k=DEPTH),
            "PSP": metrics.psprecision_at_k(truth, ranked, weights, k=DEPTH),
            "PSnDCG": metrics.psndcg_at_k(truth, ranked, weights, k=DEPTH),
            "coverage": metrics.coverage_at_k(truth, ranked, k=DEPTH),
            "macro-F1": metrics.macro_f1_measure_at_k(truth, ranked, k=DEPTH),
        }
        print(f'    "{case}": {{')
        values = {"1/p": [weights[0], weights[-1], weights.sum()], **values}
        for name, value in values.items():
            print(f'        "{name}": [{", ".join(f"{x:.13g}" for x in value)}],')
        print("    },")


if __name__ == "__main__":
    main()
