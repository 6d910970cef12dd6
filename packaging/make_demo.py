"""Make what ships from a trained checkpoint: the encoder, calibrated; the demo index; the sample photos.

    python packaging/make_demo.py --checkpoint runs/port-nemo/best.pt --work runs/demo

Every step that is done already (the rendered towns) is kept, so the command can be run again. About a quarter of an
hour on two cores, most of it rendering.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.encoder import open_encoder, rewrite_card  # noqa: E402
from engine.evaluation import calibrate, read_world  # noqa: E402
from engine.imagery import open_imagery  # noqa: E402
from engine.index import build_index  # noqa: E402
from engine.training.export import export_encoder  # noqa: E402
from engine.world.command import make_world  # noqa: E402

NAME = "port-nemo-1"
CALIBRATION_SEED, OUTSIDE_SEED, DEMO_SEED = 8001, 8002, 8003
DEMO_KM2 = 0.5
SAMPLES = {
    "panoramas/0000.jpg": "1 panorama.jpg",
    "panoramas/0001.jpg": "2 panorama.jpg",
    "photos/0000.jpg": "3 photo.jpg",
    "photos/0004.jpg": "4 photo.jpg",
    "photos/0001.jpg": "5 photo.jpg",
    "photos/0003.jpg": "6 photo.jpg",
}


class Progress:
    """Prints at most a line every few seconds."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, done: int, total: int, text: str) -> None:
        if time.monotonic() - self.last > 5:
            self.last = time.monotonic()
            print(f"  {text} {done}/{total}", flush=True)


def calibrate_encoder(encoder_folder: Path, work: Path, report: Progress) -> None:
    """Fit the calibration on towns that neither training nor the tables use, and write it into the card."""
    make_world(
        work / "calibration",
        CALIBRATION_SEED,
        0.5,
        120,
        160,
        fov_range=(62.0, 110.0),
        report=report,
    )
    make_world(work / "outside", OUTSIDE_SEED, 0.12, 40, 60, fov_range=(62.0, 110.0), report=report)
    encoder = open_encoder(encoder_folder)
    imagery = open_imagery(work / "calibration" / "imagery.tif")
    shutil.rmtree(work / "calibration.index", ignore_errors=True)
    with build_index(work / "calibration.index", imagery, encoder, report=report) as index:
        fitted, checked = calibrate(
            encoder,
            index,
            read_world(work / "calibration"),
            read_world(work / "outside"),
            data="rendered towns of Port Nemo's kind that were not trained on",
            report=report,
        )
    rewrite_card(encoder_folder, encoder.card.with_calibration(fitted.to_dict()))
    for key, value in checked.items():
        print(f"  {key}: {value}")


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for rendered towns")
    parser.add_argument("--resources", type=Path, default=ROOT / "resources")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    report = Progress()
    encoder_folder = args.resources / f"{NAME}.encoder"
    print("Exporting the encoder")
    export_encoder(args.checkpoint, encoder_folder)
    print("Calibrating")
    calibrate_encoder(encoder_folder, args.work, report)
    print("Rendering the demo town")
    demo = args.work / "demo"
    make_world(demo, DEMO_SEED, DEMO_KM2, 3, 5, fov_range=(66.0, 100.0), report=report)
    print("Building the demo index")
    index = args.resources / "port-nemo.index"
    shutil.rmtree(index, ignore_errors=True)
    build_index(
        index, open_imagery(demo / "imagery.tif"), open_encoder(encoder_folder), report=report
    ).close()
    samples = args.resources / "samples"
    shutil.rmtree(samples, ignore_errors=True)
    samples.mkdir()
    for source, name in SAMPLES.items():
        shutil.copyfile(demo / source, samples / name)
    print("Done")


if __name__ == "__main__":
    main()
