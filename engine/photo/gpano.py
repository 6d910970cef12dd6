"""Google's Photo Sphere metadata (XMP GPano): which part of the sphere a picture shows, and how it was held.

The vocabulary: https://developers.google.com/streetview/spherical-metadata. Headings are degrees clockwise from north
of the *full* sphere's centre column; a cropped picture's own centre may lie elsewhere, and the facts given out are
about that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from engine.photo.views import turned_pose

NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"
_MAX_XMP_BYTES = 1 << 20
_SHAPE_TOLERANCE = 0.03


@dataclass(frozen=True)
class Sphere:
    """Where on the sphere a picture lies, about its own centre column. Degrees; None when unknown."""

    fov_deg: float
    top_deg: float
    bottom_deg: float
    heading_deg: float | None
    pitch_deg: float
    roll_deg: float
    initial_view_deg: tuple[float, float, float] | None


def read_gpano(xmp: bytes | str) -> dict[str, str]:
    """The GPano properties of an XMP packet, by name without prefix; empty when there are none.

    Properties are found as attributes and as elements, by pattern and not with an XML parser: packets are often
    damaged, and a hostile one cannot then make a parser expand it without end.
    """
    if isinstance(xmp, bytes):
        xmp = xmp[:_MAX_XMP_BYTES].decode("utf-8", "replace")
    xmp = xmp[:_MAX_XMP_BYTES]
    prefix = re.search(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(NAMESPACE)}[\"']", xmp)
    if prefix is None:
        return {}
    name = re.escape(prefix.group(1))
    found = re.findall(rf"\b{name}:(\w+)\s*=\s*[\"']([^\"'<>]{{0,200}})[\"']", xmp)
    found += re.findall(rf"<{name}:(\w+)[^<>]*>([^<>]{{0,200}})</{name}:\w+\s*>", xmp)
    return {key: value.strip() for key, value in found}


def sphere_of(
    gpano: Mapping[str, str], width: int, height: int
) -> tuple[Sphere | None, str | None]:
    """What the properties say about a picture of ``width`` × ``height`` pixels.

    Returns:
        the sphere, or None where the properties do not make this picture a panorama; and a note where they are there
        but contradict the picture or themselves.
    """
    if not gpano:
        return None, None
    projection = gpano.get("ProjectionType", "equirectangular").lower()
    if projection != "equirectangular":
        return None, f"It is a {projection} panorama, which is read as an ordinary photo."
    names = ("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels")
    part_width, part_height = (_number(gpano, name) for name in names)
    if part_width and part_height and part_width > 0 and part_height > 0:
        shape = (width / height) / (part_width / part_height)
        if abs(math.log(shape)) > _SHAPE_TOLERANCE:
            return None, (
                "Its panorama data does not fit its shape (it was cropped or edited) and was not used."
            )
    else:
        part_width, part_height = float(width), float(height)
    full_width = _number(gpano, "FullPanoWidthPixels") or part_width
    full_height = _number(gpano, "FullPanoHeightPixels") or full_width / 2
    left = _number(gpano, "CroppedAreaLeftPixels")
    top = _number(gpano, "CroppedAreaTopPixels")
    left = (full_width - part_width) / 2 if left is None else left
    top = (full_height - part_height) / 2 if top is None else top
    slack = 1 + 0.005 * full_width
    if (
        min(left, top) < -slack
        or left + part_width > full_width + slack
        or top + part_height > full_height + slack
    ):
        return None, "Its panorama data contradicts itself and was not used."
    turn = (left + part_width / 2 - full_width / 2) * 360.0 / full_width
    pitch, roll = _angle(gpano, "PosePitchDegrees", 90.0), _angle(gpano, "PoseRollDegrees", 180.0)
    heading = _number(gpano, "PoseHeadingDegrees")
    if heading is not None and not -360.0 <= heading <= 360.0:
        heading = None
    if turn:
        turned, pitch, roll = turned_pose(pitch, roll, turn)
        heading = None if heading is None else heading + turned
    per_row = 180.0 / full_height
    sphere = Sphere(
        fov_deg=min(360.0, 360.0 * part_width / full_width),
        top_deg=min(90.0, 90.0 - top * per_row),
        bottom_deg=max(-90.0, 90.0 - (top + part_height) * per_row),
        heading_deg=None if heading is None else heading % 360.0,
        pitch_deg=pitch,
        roll_deg=roll,
        initial_view_deg=_initial_view(gpano),
    )
    return sphere, None


def full_sphere(
    width: int, height: int, *, heading_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0
) -> dict[str, str]:
    """The properties of a full panorama, to be written into its file."""
    return {
        "ProjectionType": "equirectangular",
        "UsePanoramaViewer": "True",
        "FullPanoWidthPixels": str(width),
        "FullPanoHeightPixels": str(height),
        "CroppedAreaImageWidthPixels": str(width),
        "CroppedAreaImageHeightPixels": str(height),
        "CroppedAreaLeftPixels": "0",
        "CroppedAreaTopPixels": "0",
        "PoseHeadingDegrees": repr(float(heading_deg) % 360.0),
        "PosePitchDegrees": repr(float(pitch_deg)),
        "PoseRollDegrees": repr(float(roll_deg)),
    }


def xmp_packet(gpano: Mapping[str, str]) -> bytes:
    """An XMP packet that holds the properties."""
    properties = "".join(f"\n   GPano:{key}={quoteattr(value)}" for key, value in gpano.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f'  <rdf:Description rdf:about="" xmlns:GPano="{NAMESPACE}"{properties}/>\n'
        " </rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    ).encode()


def _initial_view(gpano: Mapping[str, str]) -> tuple[float, float, float] | None:
    heading = _number(gpano, "InitialViewHeadingDegrees")
    if heading is None or not -360.0 <= heading <= 360.0:
        return None
    pitch = _angle(gpano, "InitialViewPitchDegrees", 90.0)
    return heading % 360.0, pitch, _angle(gpano, "InitialViewRollDegrees", 180.0)


def _number(gpano: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(gpano[name])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _angle(gpano: Mapping[str, str], name: str, limit: float) -> float:
    value = _number(gpano, name)
    return value if value is not None and abs(value) <= limit else 0.0
