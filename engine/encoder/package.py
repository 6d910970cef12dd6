"""The encoder on disk: a folder ``NAME.encoder`` or the same in a zip, with ``card.json`` and its graphs."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from engine.encoder.card import (
    CARD_FILE,
    CARD_MAX_BYTES,
    Branches,
    Card,
    Side,
    check_card,
    read_card,
)
from engine.encoder.encoder import Encoder
from engine.errors import EncoderError
from engine.files import atomic_write, write_json

GRAPH_MAX_BYTES = 2 << 30  # onnxruntime reads no larger model from memory
_AGAIN = "Get the encoder again from its source"


def open_encoder(
    path: Path | str, *, threads: int = 0, gpu: bool = True, photos_only: bool = False
) -> Encoder:
    """Open an encoder, check every file against its card, and start its graphs.

    Args:
        path: the folder ``NAME.encoder``, its ``card.json``, or a zip of it (read in place, nothing is unpacked).
        threads: for onnxruntime; 0 leaves the number to it.
        gpu: try the GPU first where onnxruntime has a provider for it.
        photos_only: read and start the reference branch's graph only when it is first needed; half the memory for
            who only locates.

    Raises:
        EncoderError: naming the file and what to do.
    """
    path = Path(path)
    card, graphs = read_package(path, ("query",) if photos_only else ("query", "reference"))

    def later() -> bytes:
        again, found = read_package(path, ("reference",))
        if again.hash != card.hash:
            raise EncoderError("the encoder was replaced meanwhile", path, "Open it again")
        return found[card.branches.reference.graph]

    return Encoder(card, graphs, path=path, threads=threads, gpu=gpu, later=later)


def read_package(
    path: Path, sides: Sequence[Side] = ("query", "reference")
) -> tuple[Card, dict[str, bytes]]:
    """The card and the graphs (by file name) of an encoder's sides, hashes checked."""
    if path.name == CARD_FILE:
        path = path.parent
    if path.is_dir():
        files = _read_folder(path)
    elif path.is_file():
        files = _read_zip(path)
    else:
        raise EncoderError("there is no such encoder", path, "Check the path")
    card_bytes, read_graph = files
    card = read_card(card_bytes, path)
    graphs: dict[str, bytes] = {}
    for side in sides:
        branch = card.branches.query if side == "query" else card.branches.reference
        if branch.graph not in graphs:
            graphs[branch.graph] = read_graph(branch.graph)
        if hashlib.sha256(graphs[branch.graph]).hexdigest() != branch.sha256:
            raise EncoderError(
                f"{branch.graph} was altered or damaged: its SHA-256 is not the card's",
                path,
                _AGAIN,
            )
    return card, graphs


def read_facts(path: Path) -> tuple[Card, int]:
    """The card of an encoder and the bytes of all its files, without reading the graphs: quick, whatever their size.

    Raises:
        EncoderError: there is none, its card cannot be read, or a graph is missing.
    """
    if path.name == CARD_FILE:
        path = path.parent
    if path.is_dir():
        card_bytes, _ = _read_folder(path)
        card = read_card(card_bytes, path)
        sizes = {name: (path / name) for name in _graphs_of(card)}
        for name, file in sizes.items():
            if not file.is_file():
                raise EncoderError(f"{name} is missing", path, _AGAIN)
        return card, len(card_bytes) + sum(file.stat().st_size for file in sizes.values())
    if not path.is_file():
        raise EncoderError("there is no such encoder", path, "Check the path")
    card_bytes, _ = _read_zip(path)
    return read_card(card_bytes, path), path.stat().st_size


def _graphs_of(card: Card) -> set[str]:
    return {card.branches.query.graph, card.branches.reference.graph}


def save_encoder(folder: Path | str, card: Card, graphs: Mapping[str, bytes | Path]) -> Card:
    """Write an encoder as a folder; a reader sees the old one or the new one, never a half.

    Args:
        folder: ``.../NAME.encoder``; an encoder that stands there is replaced.
        card: its ``sha256`` fields are filled in from the graphs.
        graphs: contents or files, by the file names that the card gives.

    Returns:
        The card as written.
    """
    folder = Path(folder)
    wanted = _graphs_of(card)
    if set(graphs) != wanted:
        raise EncoderError(
            f"the card names the graphs {sorted(wanted)}, but {sorted(graphs)} were given", folder
        )
    if folder.exists() and not (folder / CARD_FILE).is_file() and any(folder.iterdir()):
        raise EncoderError(
            "exists and is no encoder, so it is left alone", folder, "Choose another name"
        )
    contents = {
        name: Path(g).read_bytes() if isinstance(g, Path) else bytes(g)
        for name, g in graphs.items()
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    query, reference = card.branches.query, card.branches.reference
    card = replace(
        card,
        branches=Branches(
            replace(query, sha256=hashes[query.graph]),
            replace(reference, sha256=hashes[reference.graph]),
        ),
    )
    check_card(card)
    part, old = (
        folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("part", "old")
    )
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name, content in contents.items():
            with atomic_write(part / name) as file:
                file.write(content)
        write_json(part / CARD_FILE, card.to_dict())
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    return card


def rewrite_card(folder: Path, card: Card) -> None:
    """Put another card into an encoder's folder, for what is measured after the export (calibration, recall).

    Raises:
        EncoderError: when the new card would change the encoder itself (its hash).
    """
    path = folder / CARD_FILE
    if read_card(_limited(path, CARD_MAX_BYTES, folder), folder).hash != card.hash:
        raise EncoderError("the new card describes another encoder", folder)
    write_json(path, card.to_dict())


def zip_encoder(folder: Path | str, target: Path | str) -> Path:
    """Pack an encoder into one file for shipping: the same bytes for the same encoder."""
    folder, target = Path(folder), Path(target)
    card, graphs = read_package(folder)
    with atomic_write(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        names = [(CARD_FILE, (folder / CARD_FILE).read_bytes()), *sorted(graphs.items())]
        for name, content in names:
            info = zipfile.ZipInfo(f"{_stem(card.name)}.encoder/{name}", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return target


def unzip_encoder(source: Path | str, folder: Path | str) -> Card:
    """Unpack a zipped encoder into ``folder``. Only the card and the graphs it names are written."""
    card, graphs = read_package(Path(source))
    return save_encoder(folder, card, graphs)


def _stem(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "encoder"


def _read_folder(folder: Path):
    card_file = folder / CARD_FILE
    if not card_file.is_file():
        raise EncoderError(
            f"holds no {CARD_FILE}, so it is no encoder", folder, "Choose a folder NAME.encoder"
        )

    def read_graph(name: str) -> bytes:
        file = folder / name
        if not file.is_file():
            raise EncoderError(f"{name} is missing", folder, _AGAIN)
        return _limited(file, GRAPH_MAX_BYTES, folder)

    return _limited(card_file, CARD_MAX_BYTES, folder), read_graph


def _limited(file: Path, limit: int, folder: Path) -> bytes:
    try:
        if file.stat().st_size > limit:
            raise EncoderError(f"{file.name} is larger than {limit >> 20} MB", folder, _AGAIN)
        return file.read_bytes()
    except OSError as error:
        raise EncoderError(f"{file.name} cannot be read ({error.strerror})", folder) from error


def _read_zip(path: Path):
    # Members are looked up by name and read into memory, so no path in the archive can lead anywhere.
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                PurePosixPath(info.filename): info
                for info in archive.infolist()
                if not info.is_dir()
            }
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise EncoderError(
            "is neither an encoder's folder nor a zip of one", path, _AGAIN
        ) from error
    cards = [name for name in members if name.name == CARD_FILE and len(name.parts) <= 2]
    if len(cards) != 1:
        raise EncoderError(
            f"the zip holds {len(cards)} files {CARD_FILE} where one belongs", path, _AGAIN
        )
    root = cards[0].parent

    def read(name: str, limit: int) -> bytes:
        info = members.get(root / name)
        if info is None:
            raise EncoderError(f"{name} is missing", path, _AGAIN)
        if info.file_size > limit:
            raise EncoderError(f"{name} is larger than {limit >> 20} MB", path, _AGAIN)
        try:
            with zipfile.ZipFile(path) as archive, archive.open(info) as file:
                content = file.read(limit + 1)
        except Exception as error:
            raise EncoderError(f"{name} in the zip is damaged", path, _AGAIN) from error
        if len(content) > limit:
            raise EncoderError(f"{name} is larger than {limit >> 20} MB", path, _AGAIN)
        return content

    return read(CARD_FILE, CARD_MAX_BYTES), lambda name: read(name, GRAPH_MAX_BYTES)
