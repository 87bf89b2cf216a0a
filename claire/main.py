"""The `claire` command. Composition root of the CLI: it hands the wiring to a ui that may not import it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def main() -> None:
    """The entry point of the `claire` script."""
    try:
        from claire.ui.cli.run import run

        code = run(sys.argv[1:], _wiring)
    except KeyboardInterrupt:
        code = 130  # Ctrl-C while still importing
    sys.exit(code)


def _wiring() -> ModuleType:
    """Imported when a command asks for the network or the fleet, and not before."""
    from importlib import import_module

    return import_module("claire.wiring")
