"""Whole fleets in one process: the real protocol, gossip and log over a simulated clock and network, by seed.

    python -m tests.sync.simulation --seeds 50000        many fleets on every core; one that fails prints its repro
    python -m tests.sync.simulation --seed 17 --trace    one fleet again, step by step
    python -m tests.sync.simulation --seeds 200 --bug lww   a known bug switched in: it has to be found

A seed decides everything: topology, what is written where and when, clocks, and what the network and the hosts do
until they heal. Then all must come to hold the same, and nothing a living node held may be missing.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import Pool
from random import Random

from tests.sync.bugs import BUGS
from tests.sync.checks import Lost, check_healed, check_step
from tests.sync.fleet import Fleet, templates
from tests.sync.world import World

HEAL_S_MAX = 4_000.0  # simulated; a breaker that opened during the worst may wait 15 minutes twice
OPERATIONS = (6, 16)
FAULTY_S = (60.0, 400.0)
SHARE_SEEDS = 250  # of one process at a time: its templates are made once


def run(seed: int, trace: Callable[[str], None] | None = None, bug: str = "") -> World:
    """One fleet's life; Lost says what did not hold."""
    rng = Random(seed)
    fleet = Fleet(rng)
    with BUGS[bug]() if bug else contextlib.nullcontext(), fleet:
        world = World(rng, fleet, trace)
        end = rng.uniform(*FAULTY_S)
        for _ in range(rng.randint(*OPERATIONS)):
            world.at(rng.uniform(0, end), world.operate)
        if fleet.size == 1:
            world.at(rng.uniform(0, end), world.clone)
        for _ in range(rng.choice((0, 1, 2, 4))):
            world.at(rng.uniform(0, end), world.misfortune)
        world.run(until=end, check=check_step)
        held = world.heal()
        world.run(until=end + HEAL_S_MAX, check=check_step, done=world.agrees)
        check_healed(world, held)
        return world


def first_failure(
    seeds: Iterable[int], trace: Callable[[str], None] | None = None, bug: str = ""
) -> tuple[int, Lost] | None:
    """The first seed whose fleet breaks a promise, and which."""
    for seed in seeds:
        try:
            run(seed, trace, bug)
        except Lost as error:
            return seed, error
    return None


def repro(seed: int, bug: str = "") -> str:
    return f"python -m tests.sync.simulation --seed {seed}{f' --bug {bug}' if bug else ''} --trace"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("SEEDS", "2000")))
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="just this one")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--bug", choices=sorted(BUGS), default="")
    parser.add_argument("--light", type=int, metavar="NODES", help="rounds and bytes of one write in a large fleet")
    args = parser.parse_args()
    if args.light:
        from tests.sync.light import report

        print(report(args.light, args.seed or 0))
        return 0
    start = time.monotonic()
    if args.seed is not None:
        with templates():
            failed = first_failure([args.seed], print if args.trace else None, args.bug)
    else:
        failed = on_every_core(range(args.first, args.first + args.seeds), args.bug)
    if failed is None:
        print(f"{args.seeds if args.seed is None else 1} fleets agree, {time.monotonic() - start:.0f} s")
        return 0
    seed, error = failed
    print(f"seed {seed}: {error}\nrepro: {repro(seed, args.bug)}")
    return 1


def on_every_core(seeds: range, bug: str) -> tuple[int, Lost] | None:
    """The first failure found, a share of the seeds at a time in each process; how far it is goes to stderr."""
    shares = [seeds[start : start + SHARE_SEEDS] for start in range(0, len(seeds), SHARE_SEEDS)]
    with Pool() as pool:  # what still runs when a failure is found ends with it
        for done, failed in enumerate(pool.imap_unordered(partial(share, bug=bug), shares), start=1):
            if failed:
                return failed
            print(f"{min(done * SHARE_SEEDS, len(seeds))} of {len(seeds)} agree", file=sys.stderr, flush=True)
    return None


def share(seeds: range, bug: str) -> tuple[int, Lost] | None:
    with templates():
        return first_failure(seeds, bug=bug)


if __name__ == "__main__":
    sys.exit(main())
