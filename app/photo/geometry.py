"""Where bearings and the horizon lie on a picture as displayed; the engine's conventions, in fractions of the picture.

Azimuths are degrees clockwise from the picture's centre column; x and y run 0..1 from the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, atan, atan2, cos, degrees, radians, sin, tan

POINTS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")


@dataclass(frozen=True)
class Pose:
    """How the picture looks at the world.

    Attributes:
        heading_deg: of the centre column, or ``None`` while it is unknown.
        heading_found: whether the heading is an answer rather than given.
        top_deg, bottom_deg: elevation of the edges of a panorama.
        aspect: width / height of the picture.
    """

    panorama: bool
    fov_deg: float
    heading_deg: float | None = None
    heading_found: bool = False
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    top_deg: float = 90.0
    bottom_deg: float = -90.0
    aspect: float = 1.5

    def x_of(self, azimuth: float) -> float | None:
        """Where an azimuth meets the middle row; ``None`` outside the picture."""
        if abs(azimuth) > self.fov_deg / 2 + 1e-9:
            return None
        if self.panorama:
            return 0.5 + azimuth / self.fov_deg
        return 0.5 + tan(radians(azimuth)) / (2 * tan(radians(self.fov_deg) / 2))

    def azimuth_of(self, x: float) -> float:
        """The azimuth of a column, the tilt left aside."""
        if self.panorama:
            return (x - 0.5) * self.fov_deg
        return degrees(atan((x - 0.5) * 2 * tan(radians(self.fov_deg) / 2)))

    def ticks(self, step: int) -> list[tuple[float, int]]:
        """The places of whole bearings: (x, bearing), bearings relative to the centre while the heading is unknown.

        Relative bearings run -180..180, true ones 0..359.
        """
        centre = self.heading_deg if self.heading_deg is not None else 0.0
        first = int((centre - self.fov_deg / 2) // step) * step
        found = []
        for bearing in range(first, int(centre + self.fov_deg / 2) + step, step):
            x = self.x_of(bearing - centre)
            if x is not None:
                found.append((x, bearing % 360 if self.heading_deg is not None else bearing))
        return found

    def horizon(self) -> list[tuple[float, float]]:
        """The horizon as a line of points (x, y), possibly outside the picture."""
        if self.panorama:
            return self._horizon_of_panorama()
        focal = 0.5 / tan(radians(self.fov_deg) / 2)  # in widths
        pitch, roll = radians(self.pitch_deg), radians(self.roll_deg)
        away = focal * tan(max(min(pitch, 1.5), -1.5))
        x, y = 0.5 + away * sin(roll), 0.5 / self.aspect + away * cos(roll)
        along = 2.0
        ends = (
            (x - along * cos(roll), y + along * sin(roll)),
            (x + along * cos(roll), y - along * sin(roll)),
        )
        return [(px, py * self.aspect) for px, py in ends]

    def _horizon_of_panorama(self) -> list[tuple[float, float]]:
        pitch, roll = radians(self.pitch_deg), radians(self.roll_deg)
        points = []
        for step in range(-36, 37):
            azimuth = radians(step * 5.0)
            up = sin(roll) * sin(azimuth) - cos(roll) * sin(pitch) * cos(azimuth)
            aside = cos(roll) * sin(azimuth) + sin(roll) * sin(pitch) * cos(azimuth)
            seen_at = degrees(atan2(aside, cos(pitch) * cos(azimuth)))
            elevation = degrees(asin(max(-1.0, min(1.0, up))))
            y = (self.top_deg - elevation) / (self.top_deg - self.bottom_deg)
            points.append((0.5 + seen_at / self.fov_deg, y))
        return sorted(points)


def bearing_name(bearing: float) -> str:
    """The nearest of the eight points of the compass."""
    return POINTS[round(bearing / 45.0) % 8]


def degrees_text(bearing: float) -> str:
    """A heading as people write it: 007°."""
    return f"{round(bearing) % 360:03d}°"
