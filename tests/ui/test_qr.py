"""The QR code of an invite: every module stands where it should."""

import segno

from claire.ui import qr

LINE = "claire:" + "A" * 75 + "@100.64.0.1:8766,192.168.1.5:8766"


def test_it_says_what_segno_made_in_half_as_many_lines() -> None:
    drawn = qr.lines(LINE)
    assert max(map(len, drawn)) <= 60, "it fits a terminal"
    shades = {char: pair for pair, char in qr.HALVES.items()}
    rows = [[shades[char][half] for char in line] for line in drawn for half in (0, 1)]
    modules = [list(row) for row in segno.make_qr(LINE, error="l").matrix_iter(border=qr.BORDER_MODULES)]
    assert rows[: len(modules)] == modules
