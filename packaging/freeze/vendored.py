"""Libraries that come inside Python wheels without a licence of their own beside them: what they are and on what terms.

A library that is neither here nor told of by its distribution stops the build, so that nothing goes out unlooked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vendored:
    """A library inside a wheel: SPDX licence, who holds the rights, where it lives."""

    title: str
    licence: str
    holders: str
    home: str

    @property
    def file(self) -> Path:
        """Where its own terms are kept, if they are."""
        words = self.title.partition(",")[0].lower().replace("'s ", " ").replace("s' ", "s ")
        return _TEXTS / f"{re.sub(r'[^a-z0-9]+', '-', words)}.txt"

    @property
    def text(self) -> str:
        """Its own terms; empty where its licence says it all."""
        return self.file.read_text("utf-8") if self.file.is_file() else ""


_TEXTS = Path(__file__).resolve().parents[1] / "licences" / "parts"
_TABLE: dict[str, Vendored] = {
    "gdal": Vendored("GDAL", "MIT", "Frank Warmerdam, Even Rouault and others", "gdal.org"),
    "proj(_9)?": Vendored("PROJ", "MIT", "Gerald Evenden, Frank Warmerdam and others", "proj.org"),
    "geos(_c)?": Vendored("GEOS", "LGPL-2.1-or-later", "the GEOS contributors", "libgeos.org"),
    "hdf5(_hl)?": Vendored(
        "HDF5", "BSD-3-Clause", "The HDF Group; University of Illinois", "hdfgroup.org"
    ),
    "netcdf": Vendored("netCDF-C", "BSD-3-Clause", "UCAR / Unidata", "unidata.ucar.edu"),
    "sqlite3": Vendored("SQLite", "blessing", "public domain", "sqlite.org"),
    "(crypto|ssl)(-3-x64|-3)?": Vendored(
        "OpenSSL", "Apache-2.0", "The OpenSSL Project Authors", "openssl.org"
    ),
    "curl": Vendored("curl", "curl", "Daniel Stenberg and contributors", "curl.se"),
    "nghttp2": Vendored("nghttp2", "MIT", "Tatsuhiro Tsujikawa and contributors", "nghttp2.org"),
    "zstd": Vendored(
        "Zstandard", "BSD-3-Clause", "Meta Platforms, Inc.", "facebook.github.io/zstd"
    ),
    "tiff": Vendored(
        "libtiff", "libtiff", "Sam Leffler; Silicon Graphics, Inc.", "libtiff.gitlab.io/libtiff"
    ),
    "jpeg9": Vendored("libjpeg", "IJG", "the Independent JPEG Group", "ijg.org"),
    "jpeg(62)?": Vendored(
        "libjpeg-turbo",
        "IJG AND BSD-3-Clause",
        "the Independent JPEG Group; the libjpeg-turbo Project",
        "libjpeg-turbo.org",
    ),
    "png16": Vendored("libpng", "libpng-2.0", "the PNG Reference Library Authors", "libpng.org"),
    "webp(demux|mux)?|sharpyuv": Vendored(
        "libwebp", "BSD-3-Clause", "Google Inc.", "developers.google.com/speed/webp"
    ),
    "openjp2": Vendored("OpenJPEG", "BSD-2-Clause", "UCLouvain and others", "openjpeg.org"),
    "lzma": Vendored("XZ Utils' liblzma", "0BSD", "the XZ Utils authors", "tukaani.org/xz"),
    "blosc": Vendored("C-Blosc", "BSD-3-Clause", "the Blosc Development Team", "blosc.org"),
    "Lerc": Vendored("LERC", "Apache-2.0", "Esri", "github.com/Esri/lerc"),
    "json-c": Vendored("json-c", "MIT", "Eric Haszlakiewicz; Metaparadigm", "github.com/json-c"),
    "gif": Vendored("giflib", "MIT", "Eric S. Raymond", "giflib.sourceforge.net"),
    "aec|sz": Vendored(
        "libaec", "BSD-2-Clause", "DKRZ and others", "gitlab.dkrz.de/k202009/libaec"
    ),
    "deflate": Vendored("libdeflate", "MIT", "Eric Biggers", "github.com/ebiggers/libdeflate"),
    "pcre2-8": Vendored("PCRE2", "BSD-3-Clause", "University of Cambridge", "pcre.org"),
    "avif": Vendored(
        "libavif with dav1d, aom and libyuv",
        "BSD-2-Clause",
        "the Alliance for Open Media; VideoLAN",
        "github.com/AOMediaCodec/libavif",
    ),
    "freetype": Vendored("FreeType", "FTL", "the FreeType Project", "freetype.org"),
    "harfbuzz": Vendored("HarfBuzz", "MIT", "the HarfBuzz authors", "harfbuzz.github.io"),
    "lcms2": Vendored("Little CMS", "MIT", "Marti Maria Saguer", "littlecms.com"),
    "brotli(common|dec|enc)": Vendored(
        "Brotli", "MIT", "the Brotli Authors", "github.com/google/brotli"
    ),
    "Xau|xcb": Vendored("libXau, libxcb", "MIT", "the X.Org Foundation", "x.org"),
    "openblas.*|scipy_openblas.*": Vendored(
        "OpenBLAS", "BSD-3-Clause", "the OpenBLAS Project", "openmathlib.org/OpenBLAS"
    ),
    "gfortran|gomp|quadmath|gcc_s|stdc\\+\\+": Vendored(
        "GCC's runtime libraries",
        "GPL-3.0-or-later WITH GCC-exception-3.1 AND LGPL-2.1-or-later",
        "the Free Software Foundation",
        "gcc.gnu.org",
    ),
    "icu(data|i18n|uc)": Vendored("ICU", "Unicode-3.0", "Unicode, Inc.", "icu.unicode.org"),
    "z|z-ng|zlib1?": Vendored("zlib", "Zlib", "Jean-loup Gailly and Mark Adler", "zlib.net"),
    "expat": Vendored("Expat", "MIT", "the Expat maintainers", "libexpat.github.io"),
    "geotiff": Vendored(
        "libgeotiff",
        "MIT",
        "Niles D. Ritter, Frank Warmerdam and others",
        "github.com/OSGeo/libgeotiff",
    ),
    "spatialite": Vendored(
        "SpatiaLite, of whose licences MPL 1.1, GPL 2 and LGPL 2.1 the last is used",
        "LGPL-2.1-or-later",
        "Alessandro Furieri",
        "www.gaia-gis.it/fossil/libspatialite",
    ),
    "freexl(-1)?": Vendored(
        "FreeXL, of whose licences MPL 1.1, GPL 2 and LGPL 2.1 the last is used",
        "LGPL-2.1-or-later",
        "Alessandro Furieri",
        "www.gaia-gis.it/fossil/freexl",
    ),
    "iconv(-2)?": Vendored(
        "GNU libiconv",
        "LGPL-2.1-or-later",
        "the Free Software Foundation",
        "www.gnu.org/software/libiconv",
    ),
    "pq": Vendored(
        "libpq of PostgreSQL",
        "PostgreSQL",
        "the PostgreSQL Global Development Group; University of California",
        "www.postgresql.org",
    ),
    "xml2": Vendored("libxml2", "MIT", "Daniel Veillard", "gitlab.gnome.org/GNOME/libxml2"),
    "minizip": Vendored("minizip of zlib", "Zlib", "Gilles Vollant and others", "zlib.net"),
    "qhull_r": Vendored(
        "Qhull", "Qhull", "C.B. Barber; the Geometry Center, University of Minnesota", "qhull.org"
    ),
    "omp": Vendored(
        "LLVM's OpenMP runtime",
        "Apache-2.0 WITH LLVM-exception",
        "the LLVM Project",
        "openmp.llvm.org",
    ),
    "msvcp140.*|vcruntime140.*|concrt140|vccorlib140|vcomp140|ucrtbase|api-ms-win-.*": Vendored(
        "Microsoft's runtime for C and C++, which its makers let go with programs",
        "LicenseRef-Microsoft-Visual-Cpp-Runtime",
        "Microsoft Corporation",
        "visualstudio.microsoft.com/license-terms",
    ),
    # What Python itself brings on Windows and macOS.
    "ffi(-[0-9]+)?": Vendored(
        "libffi", "MIT", "Anthony Green, Red Hat and others", "sourceware.org/libffi"
    ),
    "mpdec": Vendored("mpdecimal", "BSD-2-Clause", "Stefan Krah", "www.bytereef.org/mpdecimal"),
    "bz2": Vendored("bzip2", "bzip2-1.0.6", "Julian Seward", "sourceware.org/bzip2"),
}


def vendored(file_name: str) -> Vendored | None:
    """What a library such as ``libtiff-fb65e6fb.so.6.2.0`` is; None where it is not known.

    Names on Windows bear a digest of 32 digits, those on macOS their version before the ending (``libtiff.6.dylib``),
    and some the package they are of (:mod:`freeze.macho_names`).
    """
    stem = re.split(r"\.(?:so|dylib|dll)\b", file_name, maxsplit=1)[0]
    stem = re.sub(r"(?:-(?:[0-9a-f]{32}|[0-9a-f]{8}))+_?$", "", stem)
    stem = re.sub(r"\.[0-9][0-9.]*(?=$|\.zlib-ng$)", "", stem).removesuffix(".zlib-ng")
    if stem[3:] == "jpeg" and re.search(r"(\.so|libjpeg|piljpeg|rasjpeg)\.9\b", file_name):
        stem = "libjpeg9"  # the IJG's own; libjpeg-turbo's are .62 and .8
    stem = re.sub(r"^(lib|pil|ras)(?=\w)", "", stem).rstrip("-_")
    stem = re.sub(r"-[0-9a-f]{8}$", "", stem)
    for pattern, facts in _TABLE.items():
        if re.fullmatch(pattern, stem, re.IGNORECASE):
            return facts
    return None


def all_known() -> list[Vendored]:
    """All that the table tells of."""
    return list(_TABLE.values())


def titled(name: str) -> Vendored | None:
    """The library that a bill of materials calls so: by its title, or by a file's name without its ending."""
    for facts in _TABLE.values():
        if re.fullmatch(rf"{re.escape(facts.title)}( \d)?", name):
            return facts
    return vendored(f"{name}.so")


# What a library says of its version in its own data.
_SAYS: dict[str, bytes] = {
    "Chromium": rb"Chrome/(\d+\.\d+\.\d+\.\d+)",
    "OpenSSL": rb"OpenSSL (\d+\.\d+\.\d+[a-z]?) \d+ \w+ 20\d\d",
    "curl": rb"libcurl/(\d+\.\d+\.\d+)",
    "HDF5": rb"HDF5 library version: (\d+\.\d+\.\d+)",
    "netCDF-C": rb"\0(4\.\d+\.\d+)",
    "SQLite": rb"\0(3\.\d\d\.\d+)\0",
    "nghttp2": rb"\0(1\.\d\d\.\d+)\0",
    "libtiff": rb"LIBTIFF, Version (\d+\.\d+\.\d+)",
    "libjpeg": rb"\b(9[a-z])  \d+-\w{3}-20\d\d",
    "libjpeg-turbo": rb"libjpeg-turbo version (\d+\.\d+\.\d+)",
    "libpng": rb"libpng version (\d+\.\d+\.\d+)",
    "json-c": rb"\0(0\.\d\d)\0",
    "PCRE2": rb"\b(10\.\d+) 20\d\d-\d\d-\d\d",
    "PROJ": rb"Rel\. (\d+\.\d+\.\d+)",
    "OpenBLAS": rb"OpenBLAS (\d+\.\d+\.\d+)",
    "ICU": rb"\0(\d\d\.\d)\0",
    "Expat": rb"expat_(\d+\.\d+\.\d+)",
    "bzip2": rb"\b(1\.0\.\d), ",
}
# Libraries whose files bear their version, after so many numbers of another kind.
_NUMBERED = {"GDAL": 1, "PROJ": 1} | dict.fromkeys(
    ("GEOS", "Zstandard", "OpenJPEG", "C-Blosc", "XZ Utils' liblzma", "SQLite", "Brotli"), 0
)


def version_said(title: str, path: Path) -> str:
    """The version that a library tells of itself; empty where it does not."""
    pattern = _SAYS.get(title)
    found = re.search(pattern, path.read_bytes()) if pattern else None
    return found[1].decode() if found else ""


def version_numbered(title: str, file_name: str) -> str:
    """The version in a file's name: the library's where that stands there, else its interface's, as ``so 6.2.0``."""
    found = re.search(r"\.so\.(\d[\d.]*)$|\.(\d[\d.]*)\.dylib$", file_name)
    if found is None:
        return ""
    number = found[1] or found[2]
    if title in _NUMBERED:
        rest = ".".join(number.split(".")[_NUMBERED[title] :])
        if rest.count(".") == 2:
            return rest
    return f"so {number}"
