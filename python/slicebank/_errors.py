"""The exception of this package."""


class CacheError(ValueError):
    """A file is missing, damaged, or does not hold what was asked for; the message names it."""
