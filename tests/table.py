"""The table of bad inputs and faults that this project passes, by id, and the score of a test run against it.

A row is tested by the tests named after it: `test_w1_...`; a test of two rows says both: `test_p4_d7_...`. So
`pytest -k w1` runs a row. A row counts when a test of it passed and none failed.
"""

import re
from collections.abc import Iterable, Mapping

import pytest

STAR, PLAIN = 5, 2  # points
ROWS_RUN_MIN = 30  # fewer were asked for by name: no score then
STARRED = ("w1", "w2", "w3", "w5", "p1", "p2", "p5", "k1", "k2", "k3", "k4", "d1", "d3", "n1", "c1")
ROWS = {
    "w1": "foreign or odd Host, every listener",
    "w2": "cross-site, same-site, other-port or null Origin on every unsafe route",
    "w3": "every route without credentials",
    "w4": "GET, HEAD, OPTIONS on every route change nothing",
    "w5": "hostile strings in every field, on all pages",
    "w6": "login code: reuse, expiry, two at once, brute force",
    "w7": "secrets in logs, argv, URL, Referer, tracebacks",
    "w8": "bind of the UI beyond loopback, sync with no peers",
    "w9": "another user of the host: http, files, sockets",
    "w10": "cookie on the sync port, signature on the UI port",
    "p1": "unsigned, badly signed, signed by another, by a stranger",
    "p2": "revoked node: new, backdated, relayed, old; a thief's revoke of us",
    "p3": "replayed request, wrong recipient, clock an hour off",
    "p4": "two hosts writing under one key",
    "p5": "stamps +1 h, +10 y, MAX, negative, malformed, huge counter",
    "p6": "1 GB declared, endless chunks, gzip, an event a byte too large",
    "p7": "deep, duplicate keys, NaN, 1e400, 5,000 digits, surrogates, NUL, BOM, overlong UTF-8",
    "p8": "unknown type, field, higher version",
    "p9": "events about missing, deleted, cyclic things",
    "p10": "one uuid with two contents; one content twice",
    "p11": "a flood of 200,000 events",
    "p12": "invite: expired, reused, raced, wrong secret five times",
    "p13": "mDNS: forged id, 10,000 records, malformed",
    "p14": "redirect, proxy in the environment, .netrc, wrong certificate",
    "p15": "a LAN neighbour at a tailnet address",
    "p16": "a peer says nothing new, withholds, lies about what it has",
    "k1": "10,000 synced and replayed events start no process",
    "k2": "kill -9 at every point of a delivery",
    "k3": "session gone, longer-named sibling, server restarted, pane id reused",
    "k4": "pane is a shell, a dialog, in copy mode, dead, synchronized",
    "k5": "text that means something to the terminal or to tmux",
    "k6": "remote send: not allowed, expired, wrong host, replayed",
    "k7": "broadcast to none, to fifty, one hangs",
    "k8": "double click, double POST, retry after a timeout",
    "d1": "kill -9 in append, sync, replay, checkpoint, migration",
    "d2": "fsync before the acknowledgement",
    "d3": "disk full at each write",
    "d4": "read-only, wrong owner, missing folder, odd paths",
    "d5": "flipped bytes, truncated files, missing -shm",
    "d6": "eight writers at once",
    "d7": "restored backup, cloned home",
    "d8": "key file missing, empty, wrong mode, another node's",
    "d9": "clock ten years back, ahead, stepped, frozen",
    "d10": "newer database, interrupted migration",
    "d11": "settings that are wrong or partial",
    "n1": "late relay, duplicates, reordering, partition, healing",
    "n2": "cut at every byte, 1 B/s, corruption, half-close, black hole",
    "n3": "slow-loris, 1,000 idle connections, 64 descriptors",
    "n4": "a million events to a fresh peer, interrupted",
    "n5": "signals in each activity",
    "n6": "1,000 rounds with dead peers; a laptop asleep",
    "c1": "escapes in every field, every command",
    "c2": "no terminal, closed pipe, NO_COLOR, width 20, LANG=C",
    "c3": "Ctrl-C in each command",
    "s1": "locked by hash, floors of versions",
    "s2": "no connection beyond loopback; content of the wheel",
}
POINTS = {row: STAR if row in STARRED else PLAIN for row in ROWS}

_NAMED = re.compile(r"test_((?:[wpkdncs]\d+_)+)")


def rows_of(test: str) -> set[str]:
    """The rows a test function is named after."""
    match = _NAMED.match(test)
    return set(match[1].rstrip("_").split("_")) if match else set()


def score(passed: set[str], failed: set[str]) -> tuple[int, int]:
    """(points, starred rows) of the rows that passed and did not also fail."""
    good = passed - failed
    return sum(POINTS[row] for row in good & ROWS.keys()), len(good & set(STARRED))


def outcomes(reports: Mapping[str, Iterable[object]]) -> dict[str, set[str]]:
    """Rows by what became of their tests: 'passed', 'failed', 'error', 'skipped'."""
    found: dict[str, set[str]] = {outcome: set() for outcome in ("passed", "failed", "error", "skipped")}
    for outcome in found:
        for report in reports.get(outcome, ()):
            nodeid = str(getattr(report, "nodeid", ""))
            found[outcome] |= rows_of(nodeid.rpartition("::")[2])
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The score of this run, where the whole table was asked for."""
    found = outcomes(terminalreporter.stats)
    failed = found["failed"] | found["error"]
    if len(found["passed"] | failed) < ROWS_RUN_MIN:
        return
    points, stars = score(found["passed"], failed)
    lost = sorted(ROWS.keys() - (found["passed"] - failed))
    terminalreporter.write_line(
        f"table of faults: {points} of {sum(POINTS.values())} points, {stars} of {len(STARRED)} starred rows"
        + (f"; not passed: {' '.join(lost)}" if lost else "")
    )
