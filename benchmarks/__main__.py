"""`python3 dev.py bench`: run the cases, print the table, write docs/performance.md.

--sizes 1000,10000,100000   how many events (1000000 takes a quarter of an hour)
--only log,commands         some of the cases
--profile                   also print where the time goes, for each hot path (times are then not comparable)
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sqlite3
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Bench, Result, table

CASES = ("log", "commands", "network", "dashboard", "fleet")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
PAGE_HEAD = """# What it costs

Written by `python3 dev.py bench`. Each case stands beside a baseline measured in the same run on the same machine:
absolute times drift by half between machines and moments, ratios stay. ± is half the distance between the quartiles.
A load above the number of cores means that other programs were running: what uses two cores (catch-up, two daemons)
looks worse beside a baseline that uses one.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    bench = Bench(tuple(int(size) for size in args.sizes.split(",")), profile=args.profile)
    results: list[Result] = []
    for name in args.only.split(","):
        case = importlib.import_module(f"benchmarks.{name}")
        with tempfile.TemporaryDirectory(prefix=f"claire-bench-{name}-") as folder:
            for result in case.run(bench, Path(folder)):
                print(table([result]).splitlines()[-1], file=sys.stderr, flush=True)
                results.append(result)
    text = f"{machine()}\n\n{table(results)}\n"
    print(text)
    if args.only == ",".join(CASES) and not args.profile:
        PAGE.write_text(PAGE_HEAD + text)


def machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, load {max(os.getloadavg()):.1f}"
    )


if __name__ == "__main__":
    main()
