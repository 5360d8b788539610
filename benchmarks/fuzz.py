"""Try presets, command lines, data files and stores that nobody should give; print what came of them.

``python benchmarks/fuzz.py --minutes 60 --seed 0``: every input is named by its kind and number, and
``--only "stores:17"`` tries one again. The status is 1 if any ended in anything but success or one clear line.
"""

import argparse
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fuzzing.attempts import sandbox
from tests.fuzzing.kinds import KINDS

# What asks for more memory than this is refused it, and shows as a traceback.
MEMORY = 8 * 10**9
# So many of each kind in a round: some take seconds, some milliseconds.
ROUND = {"presets": 30, "command lines": 10, "data files": 40, "stores": 15}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="KIND:NUMBER of one input")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    bad: dict[str, str] = {}
    end, number = time.monotonic() + 60 * asked.minutes, dict.fromkeys(KINDS, 0)
    with sandbox() as box:
        if asked.only:
            kind, _, which = asked.only.rpartition(":")
            print(KINDS[kind](Random(f"{asked.seed} {kind} {which}"), box))
            return 0
        while time.monotonic() < end:
            for kind, fuzz in KINDS.items():
                for _ in range(ROUND[kind]):
                    result = fuzz(Random(f"{asked.seed} {kind} {number[kind]}"), box)
                    counts[kind][result if result in ("success", "refused") else "bad"] += 1
                    if result not in ("success", "refused"):
                        bad[f"{kind}:{number[kind]}"] = result
                        print(f"{kind}:{number[kind]}: {result}", file=sys.stderr, flush=True)
                    number[kind] += 1
    print(f"{'kind':15} {'inputs':>7} {'success':>8} {'one line':>9} {'else':>5}")
    for kind, found in counts.items():
        print(f"{kind:15} {found.total():7} {found['success']:8} {found['refused']:9} {found['bad']:5}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
