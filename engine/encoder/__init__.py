"""Encoders: the card, the folder on disk, the onnxruntime session, and the one preprocessing."""

from engine.encoder.card import Branch, Branches, Card, Outputs, Training, card_from_dict, read_card
from engine.encoder.encoder import Canvas, Encoder, PhotoCode
from engine.encoder.package import (
    open_encoder,
    read_package,
    rewrite_card,
    save_encoder,
    unzip_encoder,
    zip_encoder,
)
from engine.encoder.preprocess import (
    canvas_to_input,
    normalise,
    project_photo,
    shape_tiles,
    tiles_to_input,
)

__all__ = [
    "Branch",
    "Branches",
    "Canvas",
    "Card",
    "Encoder",
    "Outputs",
    "PhotoCode",
    "Training",
    "canvas_to_input",
    "card_from_dict",
    "normalise",
    "open_encoder",
    "project_photo",
    "read_card",
    "read_package",
    "rewrite_card",
    "save_encoder",
    "shape_tiles",
    "tiles_to_input",
    "unzip_encoder",
    "zip_encoder",
]
