"""A text as a QR code for the terminal, two rows of it in a line."""

from __future__ import annotations

BORDER_MODULES = 2
HALVES = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}  # (upper, lower) is dark; drawn for light on dark


def lines(text: str) -> list[str]:
    """The code; pure."""
    import segno

    rows = [list(row) for row in segno.make_qr(text, error="l").matrix_iter(border=BORDER_MODULES)]
    if len(rows) % 2:
        rows.append([0] * len(rows[0]))
    return ["".join(HALVES[pair] for pair in zip(*rows[at : at + 2], strict=True)) for at in range(0, len(rows), 2)]
