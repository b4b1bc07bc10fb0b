"""Keeps libraries from printing."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*, enabled: bool = True) -> Iterator[None]:
    """Keeps the logs of TensorFlow, LiteRT and the converters off the terminal.

    They are written by C++ straight to file descriptor 2, whatever the log level. So meanwhile
    that leads nowhere, while Python's own standard error goes on as before; a crash in C++ still
    prints where in Python it happened.
    """
    if not enabled:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx", "onnxruntime")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    standard_error = sys.stderr
    own = os.fdopen(os.dup(kept), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    if standard_error is sys.__stderr__:
        sys.stderr = own
    os.dup2(sink, 2)
    crashes_shown = faulthandler.is_enabled()
    if not crashes_shown:
        faulthandler.enable(file=own)
    try:
        yield
    finally:
        if not crashes_shown:
            faulthandler.disable()
        os.dup2(kept, 2)
        sys.stderr = standard_error
        for handler in logging.getLogger().handlers:  # made meanwhile, by a library
            if isinstance(handler, logging.StreamHandler) and handler.stream is own:
                handler.setStream(standard_error)
        own.close()
        os.close(kept)
        os.close(sink)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
