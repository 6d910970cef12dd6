"""What a build is to do: from a source, an encoder and settings to a plan and the rows to encode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine import __version__
from engine.errors import EncoderError, ImageryError
from engine.geo import Bounds
from engine.imagery import AerialSource
from engine.imagery.describe import metres_text
from engine.imagery.pictures import PictureSource
from engine.index.area import Area
from engine.index.facts import Facts, facts_of, in_pieces
from engine.index.grid import MAX_TILES, BoxAround
from engine.index.layouts import AUTO, choose_layout
from engine.index.pieces import grids_over
from engine.index.plan import Plan
from engine.index.references import GridReferences, References
from engine.index.seam import TileEncoder

MINIMUM_VALID = 0.25
_CHUNK_BYTES = 64 << 20  # pixels of the tiles of one chunk; some are held at a time
_RUN = 65_536  # places looked at together
_REACH = 0.75  # of a tile's extent, kept of the imagery about its centre

Source = AerialSource | PictureSource


@dataclass(frozen=True)
class Settings:
    """What the user chose; None: what the encoder's card or the imagery says.

    Args:
        extents_m: metres along a tile; several: a row for each at every place. Where a card's tiles are several cuts
            read together, it stands for the nearest, and the others keep their proportion to it.
        stride_m: metres between tile centres.
        area: where tile centres may lie.
        embed_imagery: keep a compressed copy of the imagery in the index (and cut the tiles from that copy, so that
            the index can show exactly what was encoded); False: remember the original by its fingerprint.
        minimum_valid: leave out tiles with a smaller share of imagery than this, 0..1.
        attribution, licence: whose the imagery is.
        layout: how the vectors are kept, see :mod:`engine.index.vector_store`.
    """

    extents_m: tuple[float, ...] | None = None
    stride_m: float | None = None
    area: Area | None = None
    embed_imagery: bool = True
    minimum_valid: float = MINIMUM_VALID
    attribution: str | None = None
    licence: str | None = None
    layout: str = "auto"


@dataclass(frozen=True)
class Job:
    """A build that can begin.

    Args:
        plan: all that decides what comes out.
        source: of the pixels.
        facts: what the index will say of the source.
        references: the rows, read from the source or from a copy of it.
        pieces: the boxes of imagery's pieces, far apart, in the order of their rows.
    """

    plan: Plan
    source: Source
    facts: Facts
    references: Callable[[Source], References]
    pieces: tuple[Bounds, ...] = ()

    def copied_boxes(self) -> list[Bounds]:
        """What of each piece of the imagery must be kept so that every tile can be shown whole, and a little more."""
        rows = self.references(self.source)
        reach = _REACH * max(self.plan.tile_extents_m) * max(self.plan.cuts)
        found: list[Bounds] = []
        start = 0
        for end in self.facts.ends or (rows.count,):
            box = BoxAround()
            for first in range(start, end, _RUN):
                box.add(*rows.centres(first, min(first + _RUN, end)), reach)
            found.append(box.bounds)
            start = end
        return found


def make_job(name: str, source: Source, encoder: TileEncoder, settings: Settings) -> Job:
    """Plan a build.

    Raises:
        ImageryError: the imagery has nothing in the area.
        EncoderError: the encoder cannot read such references.
        IndexFolderError: there is no such layout, or it does not go with the encoder's dimension.
    """
    if settings.layout != AUTO:  # told now and not when all is encoded
        choose_layout(settings.layout, MAX_TILES, encoder.card.descriptor_dim)
    if isinstance(source, PictureSource):
        return _picture_job(name, source, encoder, settings)
    card = encoder.card
    together = card.tile_extents_m
    extents = tuple(sorted({float(e) for e in settings.extents_m or (min(together),)}))
    stride = float(card.stride_m if settings.stride_m is None else settings.stride_m)
    if not (all(0.01 <= e <= 1e6 for e in extents) and 0.001 <= stride <= 1e6):
        raise ValueError("extents and stride must be positive metres")
    if not 0 < settings.minimum_valid <= 1:
        raise ValueError("minimum_valid must be in (0, 1]")
    pixels = card.branches.reference.tile_pixels
    if pixels is None:
        raise EncoderError("the card does not say how many pixels a tile has")
    cuts = tuple(e / min(together) for e in together)
    widest = max(extents) * max(cuts)
    _check_fine_enough(source, widest)
    places, pieces = grids_over(source, stride, settings.area, _REACH * widest)

    def references(pixels_from: Source) -> References:
        assert not isinstance(pixels_from, PictureSource)
        return GridReferences(
            pixels_from,
            places,
            extents,
            pixels=pixels,
            cuts=cuts,
            missing=card.branches.reference.missing_value,
            minimum_valid=settings.minimum_valid,
        )

    rows = references(source)
    several = tuple(extents[0] * cut for cut in cuts) if len(cuts) > 1 else ()
    plan = replace(
        _plan(name, source, encoder, settings, rows, pixels),
        extent_m=extents[0],
        stride_m=stride,
        extents_m=several,
        rows_m=extents if len(extents) > 1 else (),
    )
    facts = facts_of(source, plan, extents, rows.left_out)
    ends = tuple(end * len(extents) for end in places.ends)
    return Job(plan, source, in_pieces(facts, source, pieces, ends), references, pieces)


def _picture_job(name: str, source: PictureSource, encoder: TileEncoder, settings: Settings) -> Job:
    from engine.index.picture_references import PictureReferences

    if settings.extents_m is not None or settings.stride_m is not None:
        raise ImageryError(
            "these are pictures with places of their own, so there is no extent or stride to choose",
            getattr(source, "path", None),
            "Leave --extent-m and --stride-m out",
        )
    of_pictures: Any = encoder  # the references refuse one that is not
    rows: Any = PictureReferences(source, of_pictures, settings.area)
    pixels = encoder.card.branches.reference.tile_pixels or 1
    plan = replace(
        _plan(name, source, encoder, settings, rows, pixels),
        kind=rows.kind,
        extent_m=min(rows.extents_m, default=0.0),
    )
    facts = facts_of(source, plan, rows.extents_m, rows.left_out)
    if note := _extent_note(rows.extents_m, encoder.card.tile_extents_m):
        facts = replace(facts, notes=(*facts.notes, note))
    return Job(plan, source, facts, lambda _: rows)


def _extent_note(extents_m: Sequence[float], card_m: Sequence[float]) -> str:
    """What to know where a dataset's tiles show much more or less ground than the encoder has learned from."""
    if not extents_m or min(card_m) / 1.2 <= min(extents_m) <= max(extents_m) <= 1.2 * min(card_m):
        return ""
    said = " to ".join(f"{e:g}" for e in dict.fromkeys((min(extents_m), max(extents_m))))
    return f"these tiles show {said} m of ground; the encoder has learned from tiles of {min(card_m):g} m"


def _plan(
    name: str,
    source: Source,
    encoder: TileEncoder,
    settings: Settings,
    rows: References,
    pixels: int,
) -> Plan:
    return Plan(
        name=name,
        encoder_name=encoder.card.name,
        encoder_hash=encoder.hash,
        dimension=encoder.card.descriptor_dim,
        tile_pixels=pixels,
        imagery_name=source.name,
        imagery_fingerprint=source.fingerprint(),
        extent_m=0.0,
        stride_m=0.0,
        area_hash=_area_hash(settings.area),
        minimum_valid=float(settings.minimum_valid),
        embed_imagery=settings.embed_imagery,
        attribution=source.attribution if settings.attribution is None else settings.attribution,
        licence=source.licence if settings.licence is None else settings.licence,
        places=rows.count,
        chunk=max(1, min(1024, _CHUNK_BYTES // rows.row_bytes)),
        made_by=f"nadir {__version__}",
        layout=settings.layout,
    )


def _check_fine_enough(source: AerialSource, widest_m: float) -> None:
    if source.resolution_m > widest_m:
        raise ImageryError(
            f"its pixels are too coarse: one shows {metres_text(source.resolution_m)} of ground, and a tile only "
            f"{metres_text(widest_m)}",
            source.name,
            "Use finer imagery",
        )


def _area_hash(area: Area | None) -> str:
    digest = hashlib.sha256()
    for polygon in area.polygons if area else ():
        for ring in polygon:
            digest.update(len(ring).to_bytes(8, "little") + ring.tobytes())
    return digest.hexdigest()


def extents(given: float | Sequence[float] | None) -> tuple[float, ...] | None:
    """One extent or several, as :class:`Settings` has them."""
    if given is None or isinstance(given, int | float):
        return None if given is None else (float(given),)
    return tuple(float(value) for value in given)
