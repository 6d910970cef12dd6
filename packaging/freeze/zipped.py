"""A zip archive of a folder that keeps its links, as an application of macOS needs it.

``shutil.make_archive`` follows links to files and makes empty folders of those to folders: an application packed with
it does not start. Finder, ``ditto`` and ``unzip`` all make links of what is stored here.
"""

from __future__ import annotations

import stat
import time
import zipfile
from pathlib import Path


def zip_folder(folder: Path, target: Path, epoch: int) -> Path:
    """Pack ``folder`` under its own name; the same files give the same archive.

    Args:
        epoch: the time all files bear, in seconds since 1970.
    """
    date = time.gmtime(max(epoch, 315532800))[:6]  # zip knows nothing before 1980
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            name = (Path(folder.name) / path.relative_to(folder)).as_posix()
            if path.is_symlink():
                _write(
                    archive, name, path.readlink().as_posix().encode(), stat.S_IFLNK | 0o777, date
                )
            elif path.is_file():
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                _write(archive, name, path.read_bytes(), stat.S_IFREG | mode, date)
    return target


def _write(
    archive: zipfile.ZipFile, name: str, content: bytes, mode: int, date: tuple[int, ...]
) -> None:
    about = zipfile.ZipInfo(name, (date[0], date[1], date[2], date[3], date[4], date[5]))
    about.create_system = 3  # Unix: what stands in external_attr is a mode
    about.external_attr = mode << 16
    about.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(about, content)
