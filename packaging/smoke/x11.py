"""Hands and eyes on an X display: windows, keys, the mouse, through Xlib and XTEST. No window manager is needed."""

from __future__ import annotations

import ctypes
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p

_VIEWABLE = 2
_REVERT_TO_PARENT = 2


class _Attributes(ctypes.Structure):
    """The beginning of XWindowAttributes as Xlib.h lays it out on 64-bit systems; the rest is room."""

    _fields_ = (
        ("x", c_int),
        ("y", c_int),
        ("width", c_int),
        ("height", c_int),
        ("before", ctypes.c_byte * (92 - 16)),
        ("map_state", c_int),
        ("room", ctypes.c_byte * 160),
    )


class Display:
    """A connection of its own to an X server; for one thread."""

    def __init__(self, name: str) -> None:
        self._x = ctypes.CDLL("libX11.so.6")
        self._test = ctypes.CDLL("libXtst.so.6")
        self._x.XOpenDisplay.restype = c_void_p
        self._x.XOpenDisplay.argtypes = (c_char_p,)
        opened = self._x.XOpenDisplay(name.encode())
        if not opened:
            raise RuntimeError(f"no X display {name}")
        self._display = c_void_p(opened)
        self._x.XDefaultRootWindow.restype = c_ulong
        self._x.XStringToKeysym.restype = c_ulong
        self._x.XStringToKeysym.argtypes = (c_char_p,)
        self._root = self._x.XDefaultRootWindow(self._display)
        handler = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p)
        self._quiet = handler(lambda _display, _event: 0)  # a window may be gone when it is asked
        self._x.XSetErrorHandler(self._quiet)

    def windows(self) -> dict[int, tuple[str, tuple[int, int, int, int]]]:
        """Title and place (x, y, width, height) of every top window that is shown."""
        root, parent, count = c_ulong(), c_ulong(), c_uint()
        children = POINTER(c_ulong)()
        done = self._x.XQueryTree(
            self._display,
            c_ulong(self._root),
            byref(root),
            byref(parent),
            byref(children),
            byref(count),
        )
        if not done:
            return {}
        found = {}
        for at in range(count.value):
            window = children[at]
            facts = _Attributes()
            if not self._x.XGetWindowAttributes(self._display, c_ulong(window), byref(facts)):
                continue
            if facts.map_state == _VIEWABLE and facts.width > 1:
                place = (facts.x, facts.y, facts.width, facts.height)
                found[window] = (self._title(window), place)
        if children:
            self._x.XFree(children)
        return found

    def _title(self, window: int) -> str:
        name = c_char_p()
        if not self._x.XFetchName(self._display, c_ulong(window), byref(name)) or not name.value:
            return ""
        return name.value.decode("utf-8", "replace")

    def focus(self, window: int) -> None:
        """Let the keys go to a window, and give it time to notice."""
        focused, revert = c_ulong(), c_int()
        self._x.XGetInputFocus(self._display, byref(focused), byref(revert))
        if focused.value == window:
            return
        self._x.XSetInputFocus(self._display, c_ulong(window), c_int(_REVERT_TO_PARENT), c_ulong(0))
        self._flush()
        time.sleep(0.5)

    def key(self, keys: str) -> None:
        """Press keys together, ``Control_L+Shift_L+c``."""
        codes = []
        for name in keys.split("+"):
            symbol = self._x.XStringToKeysym(name.encode())
            codes.append(self._x.XKeysymToKeycode(self._display, c_ulong(symbol)))
        for down, order in ((1, codes), (0, codes[::-1])):
            for code in order:
                self._test.XTestFakeKeyEvent(self._display, c_uint(code), c_int(down), c_ulong(0))
                self._flush()
                time.sleep(0.02)

    def move(self, x: int, y: int) -> None:
        """Move the mouse."""
        self._test.XTestFakeMotionEvent(self._display, c_int(-1), c_int(x), c_int(y), c_ulong(0))
        self._flush()

    def button(self, down: bool) -> None:
        """Press or let go the left button."""
        self._test.XTestFakeButtonEvent(self._display, c_uint(1), c_int(down), c_ulong(0))
        self._flush()

    def click(self, x: int, y: int) -> None:
        """Click somewhere."""
        self.move(x, y)
        time.sleep(0.1)
        self.button(True)
        time.sleep(0.05)
        self.button(False)

    def drag(self, start: tuple[int, int], end: tuple[int, int], seconds: float = 1.2) -> None:
        """Drag from one place to another, as slowly as a hand does."""
        self.move(*start)
        time.sleep(0.2)
        self.button(True)
        time.sleep(0.2)
        steps = 30
        for at in range(1, steps + 1):
            x = start[0] + (end[0] - start[0]) * at // steps
            y = start[1] + (end[1] - start[1]) * at // steps
            self.move(x, y)
            time.sleep(seconds / steps)
        time.sleep(0.5)
        self.move(end[0] + 2, end[1] + 1)
        time.sleep(0.5)
        self.button(False)

    def _flush(self) -> None:
        self._x.XSync(self._display, c_long(0))
