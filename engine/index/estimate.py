"""What a build will take, before it is begun: rows, bytes, and the time from a short measurement."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from engine.geo import metres_per_degree
from engine.imagery.pictures import PictureSource
from engine.index.encoding import BATCH
from engine.index.job import Job, Settings, Source, make_job
from engine.index.layouts import choose_layout
from engine.index.seam import TileEncoder
from engine.progress import Report, silent

_SAMPLES = 4  # runs of rows that are measured, spread over all
_SCATTERED = 60  # single rows that are looked at besides: patchy imagery is not met by a few runs
_ROW_BYTES = 195  # of the tile table and the mapped centres
_PIXEL_BYTES = 0.4  # of the copy of the imagery
_COPIED = 25e6  # pixels a second
_SEALED = 150e6  # bytes of vectors a second: quantised, written, and their checksum made


@dataclass(frozen=True)
class Estimate:
    """What a build will take.

    Args:
        places: rows, less what the measurement says is left out.
        bytes: of the finished index; while it is built, ``working_bytes`` more.
        seconds: on this machine; None: not measured.
        notes: what a person should know of it.
    """

    places: int
    bytes: int
    working_bytes: int
    seconds: float | None
    notes: tuple[str, ...]


def estimate_build(
    source: Source,
    encoder: TileEncoder,
    settings: Settings | None = None,
    *,
    measure: bool = True,
    workers: int = 0,
    report: Report = silent,
) -> Estimate:
    """Count the rows; where ``measure``, cut and encode a hundred of them and reckon the time.

    Raises:
        ImageryError: the imagery has nothing in the area.
        EncoderError: the encoder cannot read such references.
        IndexFolderError: there is no such layout.
    """
    settings = settings or Settings()
    job = make_job("estimate", source, encoder, settings)
    plan = job.plan
    rows, seconds, notes = float(plan.places), None, list(job.facts.notes)
    share = 1.0
    if measure:
        share, a_row = _measured(job, encoder, workers, report)
        rows *= share
        seconds = plan.places * a_row
        if share < 0.999:
            without = "have no imagery"
            if isinstance(source, PictureSource):
                without = "have a picture that cannot be read"
            notes.append(f"about {1 - share:.0%} of the places {without} and are left out")
    layout = choose_layout(plan.layout, max(1, round(rows)), plan.dimension)
    numbers = rows * plan.dimension
    kept = {"exact": 2.0, "sq8": 1.0, "graph": 2.5}.get(
        layout.kind, 3.0 if layout.code == "SQ8" else 2.2
    )
    # Where nothing lies the copy is next to nothing.
    copied = share * _copied_pixels(job) if plan.embed_imagery else 0.0
    pictures = _picture_bytes(job) * rows / max(1, plan.places) if plan.embed_imagery else 0.0
    held = kept * numbers + _ROW_BYTES * rows + _PIXEL_BYTES * copied + pictures
    if seconds is not None:
        seconds += copied / _COPIED + (kept * numbers + pictures) / _SEALED
    return Estimate(
        places=round(rows),
        bytes=round(held),
        working_bytes=round(2.0 * numbers),
        seconds=seconds,
        notes=tuple(notes),
    )


def _measured(job: Job, encoder: TileEncoder, workers: int, report: Report) -> tuple[float, float]:
    """The share of rows that can be encoded, and seconds a row with loading and encoding side by side."""
    rows = job.references(job.source)
    length = max(1, min(BATCH, rows.count // _SAMPLES))
    starts = np.linspace(0, rows.count - length, _SAMPLES).astype(int).tolist()
    looked = good = encoded = 0
    loading = encoding = 0.0
    for number, first in enumerate(dict.fromkeys(starts)):
        report(number, _SAMPLES, "Measuring")
        begin = time.perf_counter()
        loaded = rows.load(first, first + length)
        middle = time.perf_counter()
        looked, good = looked + length, good + len(loaded.good)
        loading += middle - begin
        if len(loaded.good):
            rows.encode(encoder, loaded, slice(0, len(loaded.good)))
            # The first call makes things ready that all others use.
            if number or len(starts) == 1:
                encoding += time.perf_counter() - middle
                encoded += len(loaded.good)
    apart = _scattered(rows.count) if rows.count > _SAMPLES * length else []
    report(_SAMPLES - 1, _SAMPLES, "Measuring")
    there = sum(len(rows.load(first, first + 1).good) for first in apart)
    # Neighbours are alike: a whole run says as much as one row.
    share = (_SAMPLES * good / looked + there) / (_SAMPLES + len(apart))
    workers = min(workers or os.cpu_count() or 1, 16)
    cut = loading / looked / workers
    encode = encoding / encoded * share if encoded else 0.0
    # On a processor both share the cores; with a GPU the slower sets the pace.
    return share, cut + encode


def _scattered(count: int) -> list[int]:
    """Rows all over, by steps of the golden ratio so that no regular pattern of the order is met."""
    steps = (np.arange(1, _SCATTERED + 1) * 0.6180339887498949) % 1.0
    return sorted({int(step * count) for step in steps})


def _picture_bytes(job: Job) -> float:
    """Of the files of all pictures that are rows."""
    if not isinstance(job.source, PictureSource):
        return 0.0
    whole = max(1, len(job.source.places()[0]))
    return float(getattr(job.source, "bytes", 0)) * job.plan.places / whole


def _copied_pixels(job: Job) -> float:
    if isinstance(job.source, PictureSource):
        return 0.0
    pixels = 0.0
    for box, facts in zip(job.copied_boxes(), job.facts.imagery, strict=True):
        per_lat, per_lon = (float(v) for v in metres_per_degree(box.centre[0]))
        sides = (box.north - box.south) * per_lat, box.width_deg * per_lon
        pixels += sides[0] * sides[1] / facts.resolution_m**2
    return pixels
