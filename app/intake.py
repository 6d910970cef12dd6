"""What arrives by drag and drop, by paste, or from the file dialog: photos, encoders, indexes, or words about why not.

Files of the desktop, several at once; pictures out of a browser, as encoded bytes where it hands those over (they
keep their metadata), else as pixels. Addresses are never fetched: nothing leaves or enters over the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QImage

ENCODED = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/avif")
PICTURE_ENDINGS = (
    "jpg", "jpeg", "png", "tif", "tiff", "webp", "bmp", "gif", "avif", "jp2", "heic"
)  # fmt: skip
ENCODER_ENDINGS = (".encoder", ".encoder.zip")
INDEX_ENDING = ".index"
PACKED_INDEX = ".index.zip"
WEIGHTS_ENDINGS = (".pth", ".pt", ".ckpt", ".safetensors", ".npz")
CARD, MANIFEST = "card.json", "manifest.json"


@dataclass
class Arrived:
    """What came, sorted."""

    files: list[Path] = field(default_factory=list)
    pictures: list[tuple[bytes | QImage, str]] = field(default_factory=list)
    encoders: list[Path] = field(default_factory=list)
    indexes: list[Path] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do anything with."""
        return not (self.files or self.pictures or self.encoders or self.indexes)


def welcome(data: QMimeData) -> bool:
    """Whether something of it could be used; asked while it is dragged over the window."""
    if data.hasUrls() or data.hasImage():
        return True
    return any(data.hasFormat(kind) for kind in ENCODED) or _path_in(data.text()) is not None


def name_of(path: Path) -> str:
    """What an encoder or an index is called wherever it is shown: as its folder or its zip, without the endings."""
    name = path.name or path.absolute().name
    for ending in (".zip", ".encoder", INDEX_ENDING):
        if name.lower().endswith(ending) and len(name) > len(ending):
            name = name[: -len(ending)]
    return name


def are_weights(path: Path) -> bool:
    """Whether it is a checkpoint by its name; a mere ``.tar`` is more likely an archive of photos."""
    return path.name.lower().removesuffix(".tar").endswith(WEIGHTS_ENDINGS)


def is_for_library(path: Path) -> bool:
    """Whether a file belongs into the Library wherever it is dropped: it imports weights and unpacks indexes."""
    return are_weights(path) or path.name.lower().endswith(PACKED_INDEX)


def encoder_of(path: Path) -> Path:
    """The encoder a file belongs to: its folder for a card, else the file itself."""
    return path.parent if path.name == CARD else path


def sort_paths(paths: list[Path], into: Arrived | None = None) -> Arrived:
    """Tell encoders and indexes from photos by their names."""
    arrived = into if into is not None else Arrived()
    for path in paths:
        name = path.name.lower()
        if name.endswith(ENCODER_ENDINGS) or name == CARD:
            arrived.encoders.append(encoder_of(path))
        elif name.endswith(INDEX_ENDING) or name == MANIFEST:
            arrived.indexes.append(path.parent if name == MANIFEST else path)
        else:
            arrived.files.append(path)
    return arrived


def take(data: QMimeData, unnamed: str) -> Arrived:
    """Sort what was dropped or pasted.

    Args:
        unnamed: the name for a picture that has none.
    """
    arrived = Arrived()
    local = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    if local:
        return sort_paths(local, arrived)
    arrived.addresses = [url.toString() for url in data.urls()]
    name = _name_in(data.urls()) or unnamed
    for kind in ENCODED:
        if data.hasFormat(kind):
            encoded = bytes(data.data(kind).data())
            if encoded:
                arrived.pictures.append((encoded, name))
                return arrived
    if data.hasImage():
        image = data.imageData()
        if isinstance(image, QImage) and not image.isNull():
            arrived.pictures.append((image, name))
            return arrived
    path = _path_in(data.text())
    if path is not None and not arrived.addresses:
        return sort_paths([path], arrived)
    return arrived


def _name_in(urls: list[QUrl]) -> str:
    """The file name at the end of the first address, where it looks like a picture's."""
    for url in urls:
        name = url.fileName()
        if name.lower().rpartition(".")[2] in PICTURE_ENDINGS:
            return name
    return ""


def _path_in(text: str) -> Path | None:
    """An absolute path in plain text, as terminals and some file managers copy it."""
    line = text.strip().strip("'\"")
    if "\n" in line or len(line) > 4096:
        return None
    if line.startswith("file://"):
        line = QUrl(line).toLocalFile()
    path = Path(line)
    return path if line and path.is_absolute() else None
