"""What a file's first bytes say it is. Names and extensions are never believed."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 4096
"""How much of a file is enough to tell."""

READABLE = "a JPEG, PNG, WebP or TIFF picture"


@dataclass(frozen=True)
class Unreadable:
    """A file that is no picture this program reads: what it is, and what to do."""

    problem: str
    remedy: str


def identify(head: bytes) -> str | Unreadable:
    """The picture format a file starts like.

    Args:
        head: the first bytes of the file, ``HEAD_BYTES`` where it has so many.

    Returns:
        "JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000" or "PPM", or why it is none of them.
    """
    for magic, name in _PICTURES:
        if head.startswith(magic):
            return _raw_camera_file(head) or name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _boxed(head)
    if _holds_weights(head):
        return WEIGHTS
    for magic, what, remedy in _OTHERS:
        if head.startswith(magic):
            return Unreadable(f"this is {what}, which Nadir cannot read", remedy)
    return _not_a_picture(head)


_PICTURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
)

_SAVE_AS_JPEG = "Save it as JPEG or PNG and open that"
_OTHERS = (
    (b"%PDF", "a PDF document", "Save the page as a picture and open that"),
    (b"8BPS", "a Photoshop document", _SAVE_AS_JPEG),
    (b"\xff\x0a", "a JPEG XL picture", _SAVE_AS_JPEG),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture", _SAVE_AS_JPEG),
    (b"FUJIFILMCCD-RAW", "a camera's raw file", "Export it as JPEG and open that"),
    (b"\x1aE\xdf\xa3", "a video", "Save one frame of it as JPEG and open that"),
    (b"PK\x03\x04", "an archive", "Unpack it and open the photos inside"),
    (b"\x1f\x8b", "an archive", "Unpack it and open the photos inside"),
    (b"7z\xbc\xaf\x27\x1c", "an archive", "Unpack it and open the photos inside"),
    (b"Rar!", "an archive", "Unpack it and open the photos inside"),
)


WEIGHTS = Unreadable(
    "these are a network's weights, not a picture",
    "Make an encoder of them: Import a checkpoint in the Library, or `nadir import`",
)
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # its magic number, pickled


def _holds_weights(head: bytes) -> bool:
    """Checkpoints: PyTorch's and NumPy's are zips of known members; safetensors begin with a length and JSON."""
    if head.startswith(b"PK\x03\x04"):
        member = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return member.endswith((b"/data.pkl", b".npy"))
    return head.startswith(_OLD_TORCH) or head[6:10] == b'\x00\x00{"'


def _raw_camera_file(head: bytes) -> Unreadable | None:
    """Canon marks its raw files, which are otherwise like TIFF, in the header."""
    if head[:4] in (b"II*\x00", b"MM\x00*") and head[8:10] == b"CR":
        return RAW
    return None


RAW = Unreadable(
    "this is a camera's raw file, which Nadir cannot read", "Export it as JPEG and open that"
)


def _boxed(head: bytes) -> str | Unreadable:
    """Files of ISO boxes: pictures and videos, told apart by the brands they list."""
    size = int.from_bytes(head[:4], "big")
    brands = head[8 : min(max(size, 12), len(head))]
    names = {brands[i : i + 4] for i in range(0, len(brands), 4)}
    if names & {b"avif", b"avis"}:
        return "AVIF"
    if names & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
        return Unreadable("this is a HEIC picture, which Nadir cannot read", _SAVE_AS_JPEG)
    if b"crx " in names:
        return RAW
    return Unreadable(
        "this is a video, which Nadir cannot read", "Save one frame of it as JPEG and open that"
    )


def _not_a_picture(head: bytes) -> Unreadable:
    choose = f"Choose {READABLE}"
    if not head:
        return Unreadable("the file is empty", "Copy it again from where it came from")
    if not head.strip(b"\x00"):
        return Unreadable(
            "the file holds nothing but zeros", "Copy it again from where it came from"
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return Unreadable(
            "this is a web page, not a picture", "Download the picture itself and open that"
        )
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return Unreadable("this is a drawing (SVG), not a photo", choose)
    if _looks_like_text(head):
        return Unreadable("this is text, not a picture, whatever its name says", choose)
    return Unreadable("this is not a picture that Nadir can read", choose)


def _looks_like_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    for cut in range(4):  # the head may end inside a character
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return bool(text) and sum(c.isprintable() or c.isspace() for c in text) >= 0.95 * len(text)
    return False
