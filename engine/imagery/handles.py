"""Open raster files, lent to one thread at a time: as many at once as there are readers, and never too many idle."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio.io import DatasetReader

from engine.errors import ImageryError
from engine.imagery.guard import NO_ADDRESS

MOST_IDLE = 48  # systems allow 256 open files and more; other parts of the program need some

Opener = Callable[[], DatasetReader]


def environment(sidecars: bool = True) -> rasterio.Env:
    """How GDAL is asked to open and read: files beside a raster (``.ovr``, ``.msk``, ``.aux.xml``) may be looked for
    by their names, but its folder, which may hold thousands, is not listed."""
    return rasterio.Env(
        GDAL_DISABLE_READDIR_ON_OPEN="TRUE" if sidecars else "EMPTY_DIR",
        GDAL_PAM_ENABLED=sidecars,
        CPL_VSIL_CURL_ALLOWED_FILENAME=NO_ADDRESS,
    )


class Handles:
    """A pool of open datasets. A dataset must not be used by two threads at once, so every reader borrows one."""

    def __init__(self, most_idle: int = MOST_IDLE) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[Path, list[DatasetReader]] = OrderedDict()
        self._count = 0
        self._most_idle = most_idle
        self._closed = False

    @contextmanager
    def borrow(self, path: Path, opener: Opener) -> Iterator[DatasetReader]:
        """Lend a dataset of ``path``, opened with ``opener`` where none is idle."""
        with self._lock:
            if self._closed:
                raise ImageryError("the imagery was closed while it was read", path)
            waiting = self._idle.get(path)
            dataset = waiting.pop() if waiting else None
            if dataset is not None:
                self._count -= 1
                if not waiting:
                    del self._idle[path]
        if dataset is None:
            dataset = opener()
        try:
            yield dataset
        finally:
            self.give(path, dataset)

    def give(self, path: Path, dataset: DatasetReader) -> None:
        """Keep an open dataset for the next reader; the one unused for longest is closed in its place."""
        surplus: list[DatasetReader] = []
        with self._lock:
            if self._closed:
                surplus.append(dataset)
            else:
                self._idle.setdefault(path, []).append(dataset)
                self._idle.move_to_end(path)
                self._count += 1
                while self._count > self._most_idle:
                    oldest = next(iter(self._idle))
                    surplus.append(self._idle[oldest].pop(0))
                    if not self._idle[oldest]:
                        del self._idle[oldest]
                    self._count -= 1
        for one in surplus:
            one.close()

    def close(self) -> None:
        """Close all that is idle now, and what is lent when it comes back."""
        with self._lock:
            self._closed = True
            idle = [dataset for waiting in self._idle.values() for dataset in waiting]
            self._idle.clear()
            self._count = 0
        for dataset in idle:
            dataset.close()
