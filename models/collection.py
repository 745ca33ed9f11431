"""Keeps Python's garbage collector away from a start, which makes much and discards little."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector: it would walk the growing modules and tables again and again and find nothing.

    ``gc.freeze()`` as the last thing inside spares what was made from later rounds too; that is for a
    process, or a part of one that calls ``gc.unfreeze()`` when it ends.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
