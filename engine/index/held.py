"""The imagery of an open index: what it holds itself, or the originals beside it; opened when first asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageryError
from engine.imagery import AerialSource, open_imagery
from engine.imagery.pictures import PictureSource
from engine.index.kept_pictures import open_kept_pictures
from engine.index.manifest import ImageryFacts, Manifest

Opened = AerialSource | PictureSource


class HeldImagery:
    """All imagery of an index, by number. Safe in several threads.

    Args:
        path: the index's folder; originals are looked for beside it.
        files: the folder of its files.
        given: the original, or a folder with the originals, for what the index does not hold.
    """

    def __init__(self, path: Path, files: Path, manifest: Manifest, given: Path | None) -> None:
        self._path, self._files, self._given = path, files, given
        self._facts = manifest.imagery
        self._manifest = manifest
        self._opened: dict[int, Opened] = {}
        self._whole: AerialSource | None = None
        self._lock = threading.RLock()

    def aerial(self, number: int) -> AerialSource:
        """One of the imageries.

        Raises:
            ImageryError: the index does not hold it and it was not found, is not the same, or it is pictures.
        """
        source = self._source(number)
        if isinstance(source, PictureSource):
            raise ImageryError(
                "the rows of this index are pictures, each with a place of its own", self._path
            )
        return source

    def whole(self) -> AerialSource:
        """All of it as one source."""
        if len(self._facts) == 1:
            return self.aerial(0)
        from engine.imagery.mosaic import combine

        with self._lock:
            if self._whole is None:
                self._whole = combine([self.aerial(n) for n in range(len(self._facts))])
            return self._whole

    def picture(self, number: int, picture: int) -> NDArray[np.uint8]:
        """One of the pictures of one of the imageries, uint8 [H, W, 3].

        Raises:
            ImageryError: see :meth:`aerial`; or the picture is gone or damaged.
        """
        source = self._source(number)
        if not isinstance(source, PictureSource):
            raise ImageryError("its tiles are cut from imagery; they are no pictures", self._path)
        return source.read(picture)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for source in self._opened.values():
                source.close()
            self._opened.clear()
            self._whole = None

    def _source(self, number: int) -> Opened:
        with self._lock:
            if number not in self._opened:
                self._opened[number] = self._open(self._facts[number])
            return self._opened[number]

    def _open(self, facts: ImageryFacts) -> Opened:
        given = self._given
        name = Path(facts.name).name
        if given is not None and name and (given / name).exists():
            given = given / name
        if self._manifest.pictures:
            return open_kept_pictures(self._path, self._manifest, facts, given)
        if facts.file is not None:
            from engine.imagery.raster import RasterSource

            # Only this file is covered by the manifest's checksums, so nothing beside it may have a say.
            return RasterSource(self._files / facts.file, sidecars=False)
        path = given or self._path.parent / name
        if not path.exists():
            raise ImageryError(
                f"this index does not hold its imagery, and {facts.name} is not beside it",
                self._path,
                "Put the imagery next to the index's folder",
            )
        source = open_imagery(path)
        if source.fingerprint() != facts.fingerprint:
            source.close()
            raise ImageryError("this is not the imagery that the index was built from", path)
        return source
