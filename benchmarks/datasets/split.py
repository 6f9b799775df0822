"""Training and test part of scikit-learn's small data sets."""

from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from torchlogreg.datasets import Split


def split(load, *, scale=False):
    """Hold out a quarter of the rows; scale the columns by the training part if asked."""
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    if scale:
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    return Split(X_train, y_train, X_test, y_test)
