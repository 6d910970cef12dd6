"""Building an index beside the encoder alone: ``python -m tests.benchmarks.bench_build``.

An orthophoto of real size is made (by default 16,000 x 16,000 pixels of 0.25 m, 16 km², JPEG in tiles, in UTM, so that
every tile is turned), then an index of it is built with the encoder that ships. The encoder alone encodes as many tiles
that are in memory already. Told are tiles a second of both, the share of its time that the encoder waited in the build,
and the most memory that the process held. A second build, of a sixteenth of the ground, shows whether memory grows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from engine.encoder import Encoder, open_encoder
from engine.imagery import open_imagery
from engine.index import build_index
from engine.index.encoding import BuildProgress
from engine.shipped import shipped_encoder

RESOLUTION_M = 0.25
TILES = 3000
TARGET = 0.9  # of the encoder's own speed
_STRIPE = 512


class Peak(threading.Thread):
    """The most resident memory of this process while it runs, bytes, without what files are mapped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._done = threading.Event()

    def run(self) -> None:
        process = psutil.Process()
        while not self._done.wait(0.05):
            memory = process.memory_info()
            self.bytes = max(self.bytes, memory.rss - getattr(memory, "shared", 0))

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def write_imagery(path: Path, side: int) -> None:
    """Blotches and grain of many colours, written a stripe at a time."""
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32632",
        "transform": from_origin(640_000, 5_410_000, RESOLUTION_M, RESOLUTION_M),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "jpeg",
        "photometric": "ycbcr",
        "jpeg_quality": 85,
        "BIGTIFF": "IF_SAFER",
    }
    coarse = rng.integers(0, 200, (side // 64 + 1, side // 64 + 1, 3), dtype=np.uint8)
    grain = rng.integers(0, 56, (_STRIPE, side, 3), dtype=np.uint8)
    with rasterio.open(path, "w", **profile) as out:
        for top in range(0, side, _STRIPE):
            rows = np.arange(top, min(top + _STRIPE, side)) // 64
            blotches = coarse[rows][:, np.arange(side) // 64]
            pixels = blotches + np.roll(grain, top, axis=1)[: len(rows)]
            window = Window(0, top, side, len(rows))  # pyright: ignore[reportCallIssue]
            out.write(np.moveaxis(pixels, -1, 0), window=window)


def encoder_alone(encoder: Encoder, count: int) -> float:
    """Tiles a second of tiles that lie in memory, in the batches of a build."""
    pixels = encoder.card.branches.reference.tile_pixels
    assert pixels is not None
    tiles = np.random.default_rng(1).integers(0, 256, (32, pixels, pixels, 3), dtype=np.uint8)
    encoder.encode_tiles(tiles)
    start = time.perf_counter()
    for _ in range(-(-count // len(tiles))):
        encoder.encode_tiles(tiles)
    return -(-count // len(tiles)) * len(tiles) / (time.perf_counter() - start)


def timed_build(
    folder: Path, imagery: Path, encoder: Encoder, count: int
) -> tuple[int, float, float, int]:
    """Tiles, tiles a second while encoding, the share of waiting, and the peak of memory of a build."""
    told: list[tuple[float, BuildProgress]] = []

    def watch(progress: BuildProgress) -> None:
        told.append((time.perf_counter(), progress))

    with open_imagery(imagery) as source, Peak() as peak:
        box = source.bounds
        height_m = (box.north - box.south) * 111_200
        stride = max(8.0, height_m / count**0.5)
        with build_index(
            folder / f"{imagery.stem}.index", source, encoder, stride_m=stride, watch=watch
        ) as index:
            tiles = index.manifest.count
    (begin, _), (end, last) = told[0], told[-1]
    return tiles, tiles / (end - begin), last.waiting, peak.bytes


def main(argv: list[str] | None = None) -> int:
    """Measure and tell; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=16_000, help="pixels of the orthophoto")
    parser.add_argument("--tiles", type=int, default=TILES)
    parser.add_argument("--encoder", type=Path, default=shipped_encoder())
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args(argv)
    encoder = open_encoder(args.encoder, threads=args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = folder / "small.tif", folder / "large.tif"
        write_imagery(small, args.side // 4)
        write_imagery(large, args.side)
        print(
            f"encoder {encoder.card.name} on {encoder.device}; imagery {large.stat().st_size / 1e6:.0f} MB"
        )
        before = encoder_alone(encoder, args.tiles // 4)
        _, _, _, small_peak = timed_build(folder, small, encoder, args.tiles // 16)
        tiles, speed, waiting, peak = timed_build(folder, large, encoder, args.tiles)
        alone = (before + encoder_alone(encoder, args.tiles // 4)) / 2
    print(f"encoder alone      {alone:8.1f} tiles/s (before and after the build)")
    print(
        f"build              {speed:8.1f} tiles/s, {tiles:,} tiles, {speed / alone:.1%} of the encoder's speed"
    )
    print(f"the encoder waited {waiting:8.1%} of its time")
    print(
        f"peak memory        {peak / 1e6:8.0f} MB; of a sixteenth of the ground {small_peak / 1e6:.0f} MB"
    )
    return 0 if speed >= TARGET * alone else 1


if __name__ == "__main__":
    sys.exit(main())
