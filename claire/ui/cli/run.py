"""From argv to an exit code: parse, run, print, and the one place where an error becomes words."""

from __future__ import annotations

import gc
import os
import signal
import sys

from claire.ui.cli.context import Context, Result
from claire.ui.cli.parse import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

    from claire.node.errors import ClaireError
    from claire.ui.cli.table import Command

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
GC_THRESHOLD_OBJECTS = 50_000  # a short command makes few cycles; looking for them is a tenth of its time


def run(argv: Sequence[str], wiring: Callable[[], ModuleType]) -> int:
    gc.set_threshold(GC_THRESHOLD_OBJECTS)
    try:
        return _guarded(argv, wiring)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except RuntimeError as error:  # what Python 3.11 makes of a Ctrl-C while a module makes its classes
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_PIPE_CLOSED
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return complain(f"{error.strerror or error}{where}", "", EXIT_ERROR)


def _guarded(argv: Sequence[str], wiring: Callable[[], ModuleType]) -> int:
    try:
        "\0".join(argv).encode()
    except UnicodeEncodeError:
        return complain("an argument is not valid UTF-8", "check your locale and quoting", EXIT_USAGE)
    if argv == ["--version"]:
        return version()
    from claire.ui.cli.commands import of

    parsed = None if "_CLAIRE_COMPLETE" in os.environ or not argv else parse(argv, of(argv[0]))
    if parsed is None:
        from claire.ui.cli import app

        answer = app.ask_typer(argv)
        if not isinstance(answer, tuple):
            return answer
        parsed = answer
    return execute(*parsed, wiring)


def execute(command: Command, values: dict[str, Any], wiring: Callable[[], ModuleType]) -> int:
    _import_msgspec()
    from claire.node.errors import ClaireError

    ctx = Context(os.environ, wiring, values.pop("json"))
    try:
        result = load(command)(ctx, **values)
        ctx.print(result.data, result.show)
        for note in (*ctx.read_only, *result.notes):
            ctx.note(note)
        return result.code
    except ClaireError as error:
        return explain(error)
    finally:
        ctx.close()


def _import_msgspec() -> None:
    """Before anything else imports it, for two reasons.

    A Ctrl-C in the middle of msgspec's own start ends the process with a segmentation fault (seen with 0.22); it
    waits until that is over. And msgspec asks for typing_extensions although Python has all it wants since 3.11:
    that module alone takes longer than bare Python. Who else imports it later gets it.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def load(command: Command) -> Callable[..., Result]:
    module, _, function = command.function.partition(":")
    __import__(module)
    loaded: Callable[..., Result] = getattr(sys.modules[module], function)
    return loaded


def explain(error: ClaireError) -> int:
    code = complain(str(error), error.hint, error.exit_code)
    for candidate in getattr(error, "candidates", ()):
        complain_line(f"  {candidate}")
    return code


def complain(cause: str, hint: str, code: int) -> int:
    """`error: cause. next: command` on stderr."""
    end = "" if cause.endswith((".", "?", "!")) else "."
    complain_line(f"error: {cause}{end}" + (f" next: {hint}" if hint else ""))
    return code


def complain_line(line: str) -> None:
    from claire.ui.text import safe

    if sys.stderr is not None:
        print(safe(line), file=sys.stderr, flush=True)


def version() -> int:
    from claire import __version__
    from claire.ui.cli.context import write

    write(f"claire {__version__}\n")
    return 0
