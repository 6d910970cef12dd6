"""The user's library: indexes and encoders in one folder, what they are, and bringing them in and out of it safely."""

from engine.library.checks import check_item
from engine.library.coverage import index_outline
from engine.library.install import install, remove
from engine.library.items import Item, kind_of, look, scan
from engine.library.register import Check, Register, read_register, write_register

__all__ = [
    "Check",
    "Item",
    "Register",
    "check_item",
    "index_outline",
    "install",
    "kind_of",
    "look",
    "read_register",
    "remove",
    "scan",
    "write_register",
]
