"""Our estimators under the names and with the constructors of scikit-learn's."""

from torchlogreg import TorchLogisticRegression, TorchLogisticRegressionCV


class LogisticRegression(TorchLogisticRegression):
    """Has no other parameters; the name is in error messages."""


class LogisticRegressionCV(TorchLogisticRegressionCV):
    """Takes ``use_legacy_attributes``, which says which layout the attributes have."""

    def __init__(
        self,
        *,
        Cs=10,
        l1_ratios=(0.0,),
        fit_intercept=True,
        cv=None,
        scoring="neg_log_loss",
        solver="auto",
        tol=1e-4,
        max_iter=None,
        class_weight=None,
        refit=True,
        random_state=None,
        use_legacy_attributes=False,
    ):
        super().__init__(
            Cs=Cs,
            l1_ratios=l1_ratios,
            fit_intercept=fit_intercept,
            cv=cv,
            scoring=scoring,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            class_weight=class_weight,
            refit=refit,
            random_state=random_state,
        )
        self.use_legacy_attributes = use_legacy_attributes
