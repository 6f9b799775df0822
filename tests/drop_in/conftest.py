"""Which of scikit-learn's tests do not take part, and why.

A pattern matches the name of a test, with its parameters.
"""

from fnmatch import fnmatch

LIBLINEAR = "liblinear penalises the intercept: another objective, which is not there"
PRIVATE = "calls a private function of scikit-learn"
DEPRECATED = "a parameter or a layout of attributes that scikit-learn is phasing out"
WORDING = "scikit-learn's wording of an error or a warning"
REMAINS = "another way to the same minimiser"

EXCLUDED = {
    "test_check_solver_option*": WORDING,
    "test_elasticnet_l1_ratio_err_helpful*": DEPRECATED,
    "test_consistency_path": PRIVATE,
    "test_logistic_regression_path_convergence_fail": PRIVATE,
    "test_liblinear_dual_random_state": LIBLINEAR,
    "test_logistic_cv[[]*": LIBLINEAR,
    "test_logistic_cv_multinomial_score*": PRIVATE,
    "test_multinomial_cv_iris*": DEPRECATED,
    "test_sample_and_class_weight_equivalence_liblinear": LIBLINEAR,
    "test_liblinear_decision_function_zero": LIBLINEAR,
    "test_logreg_l1[[]*": LIBLINEAR,
    "test_saga_vs_liblinear*": LIBLINEAR,
    "test_elastic_net_l1_l2_equivalence*": DEPRECATED,
    "test_LogisticRegressionCV_no_refit*": DEPRECATED,
    "test_LogisticRegressionCV_elasticnet_attribute_shapes*": DEPRECATED,
    "test_LogisticRegressionCV_on_folds": DEPRECATED,
    "test_l1_ratio_non_elasticnet": DEPRECATED,
    "test_logistic_regression_path_coefs_multinomial": PRIVATE,
    "test_logistic_regression_path_init_coefs": PRIVATE,
    "test_penalty_none*": DEPRECATED,
    "test_logisticregression_liblinear_sample_weight*": LIBLINEAR,
    "test_scores_attribute_layout_elasticnet": DEPRECATED,
    "test_liblinear_with_large_values": LIBLINEAR,
    "test_liblinear_not_stuck": LIBLINEAR,
    "test_liblinear_multiclass_raises*": LIBLINEAR,
    "test_penalty_deprecated*": DEPRECATED,
    "test_logisticregressioncv_warns_with_use_legacy_attributes": DEPRECATED,
    "test_l1_ratio_None_deprecated": DEPRECATED,
    "test_logisticregression_warns_with_n_jobs": DEPRECATED,
    "test_lr_penalty_l1ratio_incompatible*": DEPRECATED,
    "test_lr_scoring_warns": DEPRECATED,
    "test_lr_cv_scores_differ_when_sample_weight_is_requested": DEPRECATED,
    "test_get_default_scorer": PRIVATE,
    "test_logistic_regression_callback_support_warning": LIBLINEAR,
    "test_logreg_predict_proba_multinomial": PRIVATE,  # _predict_proba_lr
    "test_max_iter[[]newton-cholesky-*": WORDING,
    "test_max_iter[[]liblinear-*": LIBLINEAR,
    "test_max_iter[[]sag*": WORDING,
    "test_n_iter[[]True-*": DEPRECATED,
    # Steps are the more exact the nearer they are: a second fit does not know how near it is.
    "test_warm_start_newton_solver[[]*-newton-cg]": REMAINS,
    # A singular Hessian gets something on its diagonal; there is no other solver to turn to.
    "test_newton_cholesky_fallback_to_lbfgs": REMAINS,
    # scipy's L-BFGS makes an iteration in any case.
    "test_logistic_regression_callback_support[[]0]": REMAINS,
}


def pytest_configure(config):
    """Tell pytest of scikit-learn's own marks."""
    config.addinivalue_line("markers", "thread_unsafe: of scikit-learn")


def pytest_collection_modifyitems(config, items):
    """Leave out what does not take part."""
    out = [
        item
        for item in items
        if item.path.name == "test_scikit_learn_suite.py"
        and any(fnmatch(item.name, pattern) for pattern in EXCLUDED)
    ]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
