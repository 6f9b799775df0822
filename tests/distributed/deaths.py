"""A callback of scikit-learn that kills one process, once."""

import os


class DiesOnce:
    """Kills the first process that gets to the second iteration.

    Parameters
    ----------
    marker : Path
        A file that does not exist: with it, nobody is killed any more.
    """

    max_propagation_depth = None

    def __init__(self, marker):
        self.marker = marker

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "iteration" and context.task_id == 1:
            try:
                self.marker.touch(exist_ok=False)
            except FileExistsError:
                return False
            os._exit(1)
        return False
