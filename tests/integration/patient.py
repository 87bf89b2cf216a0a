"""`claire` that waits longer, for a machine busy with other tests: `python -m tests.integration.patient`."""

from claire.fleet import keystrokes, notify, tmux
from claire.main import main

keystrokes.LANDED_S = keystrokes.ACKNOWLEDGED_S = tmux.TIMEOUT_S = 120.0
notify.SETTLE_MS = 8_000

if __name__ == "__main__":
    main()
