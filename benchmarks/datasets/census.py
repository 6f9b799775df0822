"""Like a census: 32,000 x 91, 2 classes, float64, categories as one-hot columns, numbers scaled."""

from sklearn.preprocessing import StandardScaler

from benchmarks.datasets.synthetic import mixed


def load():
    """Draw the data, the same every time."""
    data = mixed(32_000, 6, [8, 16, 7, 14, 6, 5, 2, 27])
    X_train, X_test = data.X_train.copy(), data.X_test.copy()
    scaler = StandardScaler().fit(X_train[:, :6])
    for X in (X_train, X_test):
        X[:, :6] = scaler.transform(X[:, :6])
    return data._replace(X_train=X_train, X_test=X_test)
