"""Finding the pictures that an index is made of: inside it, or where they lay."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ImageryError
from engine.imagery.pictures import PictureSource, PictureStore, open_pictures
from engine.index.manifest import ImageryFacts, Manifest


def open_kept_pictures(
    index: Path, manifest: Manifest, facts: ImageryFacts, elsewhere: Path | None
) -> PictureSource:
    """Open the pictures of an index.

    Args:
        index: its folder.
        facts: which of its pictures.
        elsewhere: where they lie, for an index that does not hold them; None: beside it, by their name.

    Raises:
        ImageryError: they are not there, damaged, or not the same.
    """
    if facts.file is not None:
        store = PictureStore(index / manifest.folder / facts.file)
        if store.kind != manifest.kind:
            store.close()
            raise ImageryError(
                f"{facts.file} holds other pictures than the index says",
                index,
                "Get the index again from its source, or build it again",
            )
        return store
    where = elsewhere or index.parent / Path(facts.name).name
    if not where.exists():
        raise ImageryError(
            f"this index does not hold its pictures, and {facts.name} is not beside it",
            index,
            "Put them next to the index's folder",
        )
    aerial = manifest.kind == "aerial"
    found = open_pictures(
        where,
        kind="aerial" if aerial else "street",
        extent_m=manifest.extents_m[0] if aerial else None,
    )
    if found.fingerprint() != facts.fingerprint:
        raise ImageryError("these are not the pictures that the index was built from", where)
    return found
