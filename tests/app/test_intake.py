"""What is dropped and pasted is sorted; nothing is fetched."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QImage

from app.intake import name_of, sort_paths, take, welcome


def mime(**kinds: bytes) -> QMimeData:
    data = QMimeData()
    for kind, value in kinds.items():
        data.setData(kind.replace("_", "/"), value)
    return data


def test_several_files_are_told_apart_by_their_names() -> None:
    data = QMimeData()
    paths = [
        Path("/a/ä photo.JPG"),
        Path("/a/x.encoder"),
        Path("/a/y.index"),
        Path("/a/z.encoder.zip"),
    ]
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    arrived = take(data, "picture")
    assert arrived.files == [paths[0]]
    assert arrived.encoders == [paths[1], paths[3]]
    assert arrived.indexes == [paths[2]]
    inside = sort_paths([Path("/a/x.encoder/card.json"), Path("/a/y.index/manifest.json")])
    assert inside.encoders == [paths[1]] and inside.indexes == [paths[2]]


def test_what_an_encoder_and_an_index_are_called() -> None:
    names = {"mine.encoder.zip": "mine", "mine.encoder": "mine", "town.2.index": "town.2"}
    names |= {"Mine.Encoder.ZIP": "Mine", "loose": "loose", "v1.zip": "v1"}
    assert {name: name_of(Path("/a") / name) for name in names} == names


def test_a_browsers_encoded_bytes_are_preferred_to_its_pixels() -> None:
    data = mime(image_jpeg=b"\xff\xd8 the file itself")
    data.setImageData(QImage(4, 4, QImage.Format.Format_RGB32))
    data.setUrls([QUrl("https://example.org/street%20view.jpg?size=big")])
    arrived = take(data, "picture")
    assert arrived.pictures == [(b"\xff\xd8 the file itself", "street view.jpg")]


def test_pixels_alone_are_taken_with_a_name_of_ours() -> None:
    data = QMimeData()
    data.setImageData(QImage(4, 4, QImage.Format.Format_RGB32))
    arrived = take(data, "Pasted picture")
    assert [name for _, name in arrived.pictures] == ["Pasted picture"]
    assert isinstance(arrived.pictures[0][0], QImage)


def test_an_address_alone_is_kept_as_such() -> None:
    data = QMimeData()
    data.setUrls([QUrl("https://example.org/a.jpg")])
    arrived = take(data, "picture")
    assert arrived.empty and arrived.addresses == ["https://example.org/a.jpg"]


def test_a_path_in_text_is_a_file_other_text_is_not() -> None:
    data = QMimeData()
    data.setText("'/home/ada/photo 1.jpg'\n")
    assert take(data, "picture").files == [Path("/home/ada/photo 1.jpg")]
    data.setText("hello")
    assert take(data, "picture").empty
    assert not welcome(data)
