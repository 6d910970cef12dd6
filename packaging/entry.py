"""Where the frozen program begins: the window, or the command line where the first word is a verb.

    nadir [PHOTO | NAME.encoder | NAME.index]...    the window
    nadir localize PHOTO, nadir index build ...     the command line, in the same program

It stands in for two console scripts, so that the window can start long work as a process of itself.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from engine.shipped import GPU_FOLDER, GPU_TROUBLE, own_gpu_folder


def give_children_the_users_environment() -> None:
    """Take out of the environment what the frozen program's starter has put in for itself.

    Its search path for libraries must not reach the programs we start: another Python, a browser. This process has
    read it already, and Qt's own helper finds its libraries by their places.
    """
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LIBPATH"):
        before = os.environ.pop(f"{name}_ORIG", None)
        if before:
            os.environ[name] = before
        else:
            os.environ.pop(name, None)


def gpu_folders() -> list[Path]:
    """Where an onnxruntime for the GPU may stand, first the one that counts: beside the program, or the user's.

    What people see of an AppImage is its file; the program lies in a mount that nothing can be put into.
    """
    file = os.environ.get("APPIMAGE")
    mounted = os.environ.get("APPDIR")
    program = Path(sys.executable).resolve()
    if file and mounted and program.is_relative_to(Path(mounted).resolve()):
        program = Path(file)
    beside = program.parent / GPU_FOLDER
    return [beside, own_gpu_folder()]


VERBS = ("localize", "world", "imagery", "index", "evaluate", "train", "export", "import", "doctor")


class Beside(MetaPathFinder):
    """Finds one package in a folder, and nothing else there: what else pip has put beside it is not ours to use."""

    def __init__(self, package: str, folder: Path) -> None:
        self._package = package
        self._folder = str(folder)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package, where it is asked for; its modules are found by the path it then has."""
        if fullname != self._package:
            return None
        return PathFinder.find_spec(fullname, [self._folder], target)


def use_gpu_folder() -> Path | None:
    """Let an onnxruntime for the GPU that stands beside take the place of our own; gives its folder.

    One that cannot be imported (half of it was fetched, or it is for another Python) or that somebody else put there
    is left alone; why stands in the environment then, for the program to tell.
    """
    os.environ.pop(GPU_TROUBLE, None)
    for folder in gpu_folders():
        if not (folder / "onnxruntime" / "capi").is_dir():
            continue
        trouble = _not_ours(folder) or _not_importable(folder)
        if not trouble:
            return folder
        os.environ[GPU_TROUBLE] = f"{folder} is not used: {trouble}"
    return None


def _not_ours(folder: Path) -> str:
    if sys.platform == "win32":
        return ""
    for place in (folder, folder / "onnxruntime"):
        facts = place.stat()
        if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & 0o002:
            return "somebody else may write there"
    return ""


def _not_importable(folder: Path) -> str:
    finder = Beside("onnxruntime", folder)
    sys.meta_path.insert(0, finder)
    try:
        if not hasattr(importlib.import_module("onnxruntime"), "InferenceSession"):
            raise ImportError("a part of it is missing")
    except Exception as error:
        sys.meta_path.remove(finder)
        for name in [n for n in sys.modules if n.partition(".")[0] == "onnxruntime"]:
            del sys.modules[name]
        first = next(iter(str(error).splitlines()), "")
        return f"it cannot be loaded ({type(error).__name__}: {first[:120]})"
    return ""


def is_command(arguments: list[str]) -> bool:
    """Whether the command line is meant: a verb comes first, or a question about it."""
    if not arguments:
        return False
    first = arguments[0]
    if first in ("-h", "--help", "--version", *VERBS):
        return True  # a file of that name is meant by ./train
    return re.fullmatch(r"[a-z]+", first) is not None and not os.path.exists(first)


def no_screen() -> str:
    """Why no window can open here, in sentences; empty where one can. Qt itself would abort."""
    if sys.platform != "linux":
        return ""
    from bootstrap.display import check_display
    from bootstrap.trouble import Trouble

    try:
        check_display(os.environ)
    except Trouble as trouble:
        return (
            f"Nadir cannot open its window. {trouble.problem}\n"
            "Start it in a desktop session, as its own user, or over SSH with `ssh -X`.\n"
            "Without a screen the command line does the same work: nadir localize PHOTO"
        )
    return ""


def main() -> int:
    """Run one of the two."""
    multiprocessing.freeze_support()
    give_children_the_users_environment()
    use_gpu_folder()
    if is_command(sys.argv[1:]):
        from engine.cli import main as command

        return command()
    words = "" if {"-h", "--help"} & set(sys.argv[1:]) else no_screen()
    if words:
        print(words, file=sys.stderr)
        return 1
    from app.main import main as window

    return window()


if __name__ == "__main__":
    sys.exit(main())
