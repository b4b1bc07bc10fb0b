"""How a process that trains for hours uses its machine."""

from __future__ import annotations

import ctypes
import os
import platform

# Numbers of mallopt's parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_MOST = 2**31 - 1
_PAD = 64 * 2**20


def keep_memory() -> None:
    """Has glibc keep what is freed for what is allocated next, and not give it back.

    On a CPU TensorFlow allocates every activation anew in every step. By default glibc takes large
    ones from the system, which has to clear each page, and gives them back right away. Does nothing
    where the C library is another.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    # One arena: the pools of threads would have their own, of bounded size.
    for parameter, value in (
        (_ARENA_MAX, 1),
        (_MMAP_MAX, 0),
        (_TRIM_THRESHOLD, _MOST),
        (_TOP_PAD, _PAD),
    ):
        mallopt(parameter, value)


def use_onednn() -> None:
    """Has TensorFlow compute with oneDNN on every x86 processor, unless the environment says no.

    By itself it leaves oneDNN out on some, such as those with AVX2 alone. To be called before
    TensorFlow is imported.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
