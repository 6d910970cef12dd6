"""XML from strangers: a small tree, no entities, no other files, bounded in size and depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

MOST_BYTES = 32 << 20
_MOST_NODES = 1_000_000
_DEEPEST = 64


class XmlError(ValueError):
    """It is no XML, or more than is read."""


@dataclass(eq=False)
class Node:
    """An element, by its name without the namespace; so are its attributes."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def child(self, *names: str) -> Node | None:
        """The first child of a name, and of that the first of the next name."""
        node: Node | None = self
        for name in names:
            node = next((c for c in node.children if c.name == name), None) if node else None
        return node

    def all(self, name: str) -> list[Node]:
        """Children of a name."""
        return [child for child in self.children if child.name == name]

    def value(self, *names: str) -> str:
        """The text of :meth:`child`, without space around it; empty where there is none."""
        node = self.child(*names)
        return node.text.strip() if node else ""

    def walk(self) -> Iterator[Node]:
        """This element and all below it."""
        waiting: list[Node] = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


def parse_xml(data: bytes) -> Node:
    """Read a document.

    A document type may be named (WMS 1.1.1 does so) but is not fetched; entities may not be defined.

    Raises:
        XmlError: it is not well formed, defines entities, or is too large.
    """
    if len(data) > MOST_BYTES:
        raise XmlError("it is too large")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = reader.refuse
    parser.ExternalEntityRefHandler = reader.refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, UnicodeDecodeError, LookupError, ValueError) as error:
        raise error if isinstance(error, XmlError) else XmlError(str(error)) from error
    if reader.root is None:
        raise XmlError("it is empty")
    return reader.root


class _Reader:
    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MOST_NODES or len(self._open) >= _DEEPEST:
            raise XmlError("it is too large")
        own = {key.rpartition(":")[2]: value for key, value in attributes.items()}
        node = Node(name.rpartition(":")[2], own)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data

    def refuse(self, *_: Any) -> int:
        raise XmlError("it defines entities")
