"""What a competitor raises when it cannot take part."""


class NotApplicableError(Exception):
    """It is not installed, or does not take this kind of data."""
