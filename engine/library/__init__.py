"""The user's library: indexes and encoders in one folder, what they are, and bringing them in and out of it safely."""

from engine.library.checks import check_item
from engine.library.coverage import index_outline
from engine.library.install import install, remove
from engine.library.items import Item, Kind, kind_of, look, scan
from engine.library.register import Check, Register, change_register, read_register

__all__ = [
    "Check",
    "Item",
    "Kind",
    "Register",
    "change_register",
    "check_item",
    "index_outline",
    "install",
    "kind_of",
    "look",
    "read_register",
    "remove",
    "scan",
]
