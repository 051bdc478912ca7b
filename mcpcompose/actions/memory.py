"""What becomes of memory: large blocks go back to the system when they are free, and a crash leaves no copy of it."""

from __future__ import annotations

import sys
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""`M_MMAP_THRESHOLD` of glibc's malloc.h."""
_LARGE: Final = 1 << 20


def without_core_files() -> None:
    """A crash of this process or of one it starts writes no core file: every secret that it holds would be in it."""
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def return_large_blocks() -> None:
    """
    Map every block over 1 MiB by itself, so that it is gone when it is freed.

    glibc does so at first, but learns from each such block that is freed to keep the next ones of its size
    (mallopt(3)): one large result would stay in the gateway's memory for good. Without glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    import ctypes

    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
    except (OSError, AttributeError):
        return
