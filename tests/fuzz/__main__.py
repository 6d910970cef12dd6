"""``python -m tests.fuzz --seconds 600``: spoil indexes until the time is over, and print what must not be."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import Probe, fuzz
from tests.fuzz.samples import make_samples


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="begin here")
    parser.add_argument("--only", type=int, metavar="SEED", help="try this case alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = make_samples(folder)
        probe = Probe(samples[min(samples)], folder / "outside")
        stop, seed, tried = time.monotonic() + args.seconds, args.seed, 0
        total: dict[str, int] = {}
        while time.monotonic() < stop or not tried:
            seeds = (
                range(args.only, args.only + 1) if args.only is not None else range(seed, seed + 50)
            )
            outcomes, faults = fuzz(samples, seeds, folder, probe)
            for kind, number in outcomes.items():
                total[kind] = total.get(kind, 0) + number
            for fault in faults:
                print(fault, flush=True)
            seed, tried = seed + 50, tried + len(seeds)
            if args.only is not None:
                break
        probe.close()
        print(f"{tried} cases from seed {args.seed}: {total}", file=sys.stderr)
    return 1 if total.get("fault") else 0


if __name__ == "__main__":
    sys.exit(main())
