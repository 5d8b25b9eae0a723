"""The error of this package."""


class StackError(Exception):
    """The stack cannot be started. The message says why, and what to do."""
