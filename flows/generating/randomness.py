"""The one place random numbers come from: a stream for each purpose, the same on every platform.

Everything drawn from a stream is put together by comparison, whole numbers and the four basic operations
alone: logarithms and powers may differ in the last bit between platforms, and so would the files.
"""

from random import Random


def stream(seed: int, *purpose: str | int) -> Random:
    """Return the stream of random numbers for one purpose, independent of all others of this seed."""
    return Random("/".join(map(str, (seed, *purpose))))  # noqa: S311 - data to play with, no secrets
