"""scikit-learn's own checks of estimators."""

import warnings

import pytest

pytest.importorskip("sklearn", minversion="1.6", reason="the estimator needs scikit-learn 1.6")

from sklearn.utils.estimator_checks import check_estimator

from megalabel.sklearn import LabelClassifier

SPARSE = "multi-label results are sparse matrices"
CLUSTERS = "the clusters of label trees follow the texts, not their weights"
EXCEPTIONS = {
    "check_classifiers_multilabel_representation_invariance": SPARSE,
    "check_classifiers_multilabel_output_format_predict": SPARSE,
    "check_classifiers_multilabel_output_format_predict_proba": SPARSE,
    "check_sample_weight_equivalence_on_dense_data": CLUSTERS,
    "check_sample_weight_equivalence_on_sparse_data": CLUSTERS,
}


def test_the_estimator_passes_the_checks_of_scikit_learn_with_five_exceptions():
    estimator = LabelClassifier("linear", options={"calibration": "no", "trees": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn lists the exceptions as warnings
        results = check_estimator(estimator, expected_failed_checks=EXCEPTIONS, on_skip=None, on_fail="raise")
    assert {r["check_name"] for r in results if r["status"] == "xfail"} <= set(EXCEPTIONS)
    assert sum(r["status"] == "passed" for r in results) > 40
