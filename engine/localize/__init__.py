"""Photo to places: query plan, search, distinct candidates, posterior, evidence, and results as files."""

from engine.localize.evidence import Evidence, explain
from engine.localize.export import ENDINGS, WRITERS, to_geojson, to_json, to_text
from engine.localize.plan import Plan, make_plan
from engine.localize.posterior import Calibration, Posterior
from engine.localize.result import Candidate, Result, Timings
from engine.localize.run import Query, localize
from engine.localize.words import headline, position, verdict

__all__ = [
    "ENDINGS",
    "WRITERS",
    "Calibration",
    "Candidate",
    "Evidence",
    "Plan",
    "Posterior",
    "Query",
    "Result",
    "Timings",
    "explain",
    "headline",
    "localize",
    "make_plan",
    "position",
    "to_geojson",
    "to_json",
    "to_text",
    "verdict",
]
