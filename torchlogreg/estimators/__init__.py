"""scikit-learn's contract: parameters, fit, attributes, predictions."""
