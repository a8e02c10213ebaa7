"""Keeps freed memory in the process for the next batch, instead of giving it back to the kernel each time.

Predictions are arrays of megabytes that come and go many times a second. glibc's defaults map each anew or trim the
heap behind it, and every page is then faulted in and zeroed again: on a virtual machine that was a third of the time
of a bulk stream. What is kept is bounded, ``KEPT``; a larger array is still mapped and unmapped by itself.
"""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

MIB = 2**20
KEPT = 256 * MIB
# names and numbers of <malloc.h>
SETTINGS = {
    -3: 32 * MIB,  # M_MMAP_THRESHOLD: arrays above it are mapped by themselves; the most that glibc takes
    -1: KEPT,  # M_TRIM_THRESHOLD: free memory at the top of the heap above it goes back to the kernel
    -2: 16 * MIB,  # M_TOP_PAD: the heap grows by as much at a time
    -8: 1,  # M_ARENA_MAX: one heap, so that a thread uses again what another has freed
}


def keep_freed_memory() -> bool:
    """Set glibc's allocator so; whether the process has one, as on most of Linux."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl, macOS
        return False
    return all(mallopt(number, value) == 1 for number, value in SETTINGS.items())
