"""Errors that name what is wrong and what to do."""


class Failed(Exception):
    """An error with a hint."""

    def __init__(self, what, hint):
        super().__init__(f"{what}\nhint: {hint}")
