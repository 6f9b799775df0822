"""Spark's own logistic regression (``pip install pyspark``; needs Java 17)."""

import contextlib
import shutil
import tempfile

import pyarrow as pa
from pyarrow import parquet

from benchmarks.competitors.not_applicable import NotApplicableError

try:
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import SparkSession
except ImportError:
    SparkSession = None


def fit(frame, n, C, **params):
    """Fit to a frame of :func:`cached`, of n rows; without one, there is no Spark."""
    if frame is None:
        raise NotApplicableError("pyspark or Java is not installed")
    params = {"standardization": False, "maxIter": 1000, **params}
    model = LogisticRegression(regParam=1 / (C * n), elasticNetParam=0.0, **params).fit(frame)
    n_iter = int(model.summary.totalIterations)
    return model.coefficientMatrix.toArray(), model.interceptVector.toArray(), n_iter


@contextlib.contextmanager
def cached(X, y, n_threads):
    """Give a frame that Spark has in its memory, in a partition a thread; None without Spark."""
    if SparkSession is None or shutil.which("java") is None:
        yield None
        return
    options = {"spark.driver.memory": "6g", "spark.driver.host": "127.0.0.1"}
    options |= {"spark.ui.enabled": "false", "spark.log.level": "ERROR"}
    options |= {"spark.ui.showConsoleProgress": "false"}
    session = SparkSession.builder.master(f"local[{n_threads}]").config(map=options).getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        rows = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])
        columns = {"rows": rows.cast(pa.list_(pa.float64())), "label": pa.array(y, pa.float64())}
        parquet.write_table(pa.table(columns), f"{folder}/data.parquet")
        frame = session.read.parquet(folder).repartition(n_threads)
        frame = frame.select(array_to_vector("rows").alias("features"), "label").cache()
        frame.count()
    yield frame
    session.stop()
