"""What is there, what is missing, and how to get it: ``nadir doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engine import __version__, training_python
from engine.errors import NadirError
from engine.shipped import (
    GPU_FOLDER,
    GPU_TROUBLE,
    frozen_folder,
    install_for_training,
    own_gpu_folder,
    resources,
    sample_photos,
    shipped_encoder,
    shipped_index,
)

ENGINE_PACKAGES = ("numpy", "Pillow", "onnxruntime", "faiss-cpu", "rasterio")
APP_PACKAGES = ("PySide6", "folium", "pyqtgraph")
TRAINING_PACKAGES = ("torch", "onnx", "onnxscript")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: the heading it stands under.
        name: what was looked at.
        good: whether it is as it should be.
        needed: whether locating photos needs it.
        said: what was found.
        remedy: what to do where it is not good.
    """

    topic: str
    name: str
    good: bool
    needed: bool
    said: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything; takes a second or two."""
    findings = [
        Finding("Program", "nadir", True, True, __version__),
        Finding(
            "Program",
            "Python",
            sys.version_info >= (3, 11),
            True,
            platform.python_version(),
            "Use 3.11 or newer",
        ),
        Finding(
            "Program",
            "system",
            True,
            True,
            f"{platform.system()} {platform.release()}, {platform.machine()}",
        ),
    ]
    mend = "Run: python3 run.py" if frozen_folder() is None else "Install Nadir again"
    findings += [_package(name, "Engine", True, mend) for name in ENGINE_PACKAGES]
    findings += [_package(name, "Window", False, mend) for name in APP_PACKAGES]
    if frozen_folder() is None:
        remedy = f"Only to train: {install_for_training()}"
        findings += [_package(name, "Training", False, remedy) for name in TRAINING_PACKAGES]
    else:
        findings.append(_training_python())
    findings += [_memory(), _cores(), _scratch(), *_sandbox(), *_devices()]
    findings += [_encoder(), *_index(), _samples()]
    return findings


def report_text(findings: list[Finding]) -> str:
    """The findings as people read them."""
    lines: list[str] = []
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            lines.append(("\n" if lines else "") + topic)
        mark = "ok " if finding.good else ("!! " if finding.needed else "-  ")
        remedy = "" if finding.good or not finding.remedy else f". {finding.remedy}"
        lines.append(f"  {mark}{finding.name:<14} {finding.said}{remedy}")
    missing = [finding.name for finding in findings if finding.needed and not finding.good]
    verdict = (
        "Ready to locate photos." if not missing else f"Not ready: see {', '.join(missing)} above."
    )
    return "\n".join([*lines, "", verdict])


def _training_python() -> Finding:
    python = training_python.find()
    if python is not None:
        return Finding("Training", "Python", True, False, str(python))
    return Finding(
        "Training",
        "Python",
        False,
        False,
        "none with PyTorch",
        "Only to train and to import, by the window's Train or: nadir doctor --set-up-training",
    )


def _package(name: str, topic: str, needed: bool, remedy: str) -> Finding:
    try:
        return Finding(topic, name, True, needed, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        # onnxruntime and faiss go by other names where they are built for a GPU.
        for other in (f"{name}-gpu", name.replace("-cpu", "-gpu")):
            try:
                return Finding(
                    topic, name, True, needed, f"{importlib.metadata.version(other)} ({other})"
                )
            except importlib.metadata.PackageNotFoundError:
                continue
        return Finding(topic, name, False, needed, "not installed", remedy)


def _memory() -> Finding:
    try:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / 1e9
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return Finding("Machine", "memory", True, False, "not known here")
    return Finding(
        "Machine",
        "memory",
        whole > 1.5,
        False,
        f"{free:.1f} of {whole:.1f} GB free",
        "2 GB are wanted",
    )


def _cores() -> Finding:
    return Finding("Machine", "cores", True, False, str(os.cpu_count() or "not known"))


def _sandbox() -> list[Finding]:
    """Whether the browser engine can shut its helpers in; where not, it shows our page all the same."""
    if not sys.platform.startswith("linux"):
        return []
    closed = (
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("kernel/unprivileged_userns_clone", "0"),
        ("user/max_user_namespaces", "0"),
    )
    for name, value in closed:
        try:
            found = (Path("/proc/sys") / name).read_text("ascii").strip()
        except OSError:
            continue
        if found == value:
            said = f"partly off: this system makes no user namespaces ({name.replace('/', '.')} is {value})"
            return [Finding("Machine", "map's sandbox", False, False, said)]
    return [Finding("Machine", "map's sandbox", True, False, "can be used")]


def _devices() -> list[Finding]:
    try:
        import onnxruntime

        from engine.encoder.session import CUDA, DEVICE_NAMES
    except ImportError:
        return []
    present = onnxruntime.get_available_providers()
    said = ", ".join(
        name.removesuffix("ExecutionProvider") for name in present if name in DEVICE_NAMES
    )
    findings = [Finding("Machine", "providers", True, False, said)]
    beside = Path(onnxruntime.__file__).parents[1]
    if beside.name == GPU_FOLDER:
        said = f"{onnxruntime.__version__} from {beside}"
        findings.insert(0, Finding("Machine", "onnxruntime", True, False, said))
    elif trouble := os.environ.get(GPU_TROUBLE):
        findings.insert(0, Finding("Machine", "onnxruntime", False, False, trouble))
    if CUDA not in present:
        remedy = "Only for a GPU: install onnxruntime-gpu in place of onnxruntime"
        if frozen_folder() is not None:
            remedy = f"Only for a GPU: {_gpu_command(onnxruntime.__version__)}"
        return [
            *findings,
            Finding("Machine", "GPU", False, False, "this onnxruntime has no CUDA", remedy),
        ]
    path = shipped_encoder()
    if path is None:
        return findings
    try:
        from engine.encoder import open_encoder

        encoder = open_encoder(path)
        works = encoder.device == "CUDA"
        text = "CUDA works" if works else " ".join(encoder.notices) or "CUDA is not used"
        return [*findings, Finding("Machine", "GPU", works, False, text)]
    except NadirError as error:
        return [*findings, Finding("Machine", "GPU", False, False, str(error))]


def _gpu_command(version: str) -> str:
    """What puts an onnxruntime for the GPU where the installed program takes it."""
    python = "python" if sys.platform == "win32" else "python3"
    number = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f'{python} -m pip install --target "{own_gpu_folder()}" --only-binary=:all: '
        f'--python-version {number} "onnxruntime-gpu[cuda,cudnn]=={version}"'
    )


def _encoder() -> Finding:
    path = shipped_encoder()
    if path is None:
        remedy = "Give encoders with --encoder"
        return Finding("Demo", "encoder", False, False, f"none in {resources()}", remedy)
    try:
        from engine.encoder import open_encoder

        encoder = open_encoder(path)
    except (NadirError, ImportError) as error:
        return Finding("Demo", "encoder", False, False, str(error))
    calibrated = "calibrated" if encoder.card.calibration else "not calibrated"
    return Finding(
        "Demo",
        "encoder",
        True,
        False,
        f"{encoder.name} {encoder.hash[:12]} on {encoder.device}, {calibrated}",
    )


def _index() -> list[Finding]:
    path = shipped_index()
    if path is None:
        return [
            Finding(
                "Demo", "index", False, False, f"none in {resources()}", "Give indexes with --index"
            )
        ]
    try:
        from engine.encoder import open_encoder
        from engine.index import Index

        encoder_path = shipped_encoder()
        with Index.open(path, open_encoder(encoder_path) if encoder_path else None) as index:
            said = f"{index.manifest.name}, {index.manifest.count:,} tiles {index.hash[:12]}"
            return [Finding("Demo", "index", True, False, said)]
    except (NadirError, ImportError) as error:
        return [Finding("Demo", "index", False, False, str(error))]


def _samples() -> Finding:
    count = len(sample_photos())
    return Finding("Demo", "samples", count > 0, False, f"{count} photos")


def _scratch() -> Finding:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free / 1e9
    return Finding(
        "Machine", "scratch", free > 0.5, False, f"{folder}, {free:.1f} GB free", "Make room there"
    )
