"""Choosing what to train on: the processor, a graphics card, or several of them."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QCheckBox, QRadioButton, QVBoxLayout, QWidget

from app.training.interpreter import Device
from app.training.words import gigabytes


class DevicePicker(QWidget):
    """One device, or several GPUs for a process each; every one with its free memory."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._radios = QButtonGroup(self)
        self.boxes: list[tuple[Device, QRadioButton | QCheckBox]] = []

    @property
    def picked(self) -> tuple[str, ...]:
        """Names of the devices picked."""
        return tuple(device.name for device, box in self.boxes if box.isChecked())

    def set_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer these; what was picked stays picked, else the first GPU, else the processor."""
        before = self.picked
        while (item := self._column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self.boxes = []
        several = sum(device.gpu for device in devices) > 1
        for device in devices:
            box = QCheckBox() if device.gpu and several else QRadioButton()
            box.setText(device.title)
            if device.total:
                words = self.tr("{0} · {1} of {2} free")
                memory = gigabytes(device.free), gigabytes(device.total)
                box.setText(words.format(device.title, *memory))
            box.setToolTip(device.name)
            if isinstance(box, QRadioButton):
                self._radios.addButton(box)
            box.setChecked(device.name in before)
            box.clicked.connect(lambda _=False, device=device: self._clicked(device))
            self._column.addWidget(box)
            self.boxes.append((device, box))
        if not self.picked and self.boxes:
            first = next((box for device, box in self.boxes if device.gpu), self.boxes[0][1])
            first.setChecked(True)

    def _clicked(self, clicked: Device) -> None:
        """Processor and graphics cards exclude each other; something is always picked."""
        for device, box in self.boxes:
            if clicked.gpu == device.gpu:
                continue
            self._radios.setExclusive(False)
            box.setChecked(False)
            self._radios.setExclusive(True)
        if not self.picked:
            next(box for device, box in self.boxes if device is clicked).setChecked(True)
        self.changed.emit()
