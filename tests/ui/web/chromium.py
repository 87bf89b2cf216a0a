"""A real headless Chromium that signs in, and notices whatever a person would not see: errors, requests elsewhere."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from claire.node.node import Node
from claire.ui import login

EXECUTABLE = os.environ.get("CLAIRE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (360, 1280, 2560)
SCHEMES = ("light", "dark")
TIMEOUT_MS = 180_000  # of a machine that is busy with other tests too; waited for only as long as it takes


@dataclass
class Eyes:
    """What happened in a page behind the person's back."""

    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    foreseen: tuple[str, ...] = ()  # words of errors the test provokes: the browser may report them after its last step

    def surprises(self) -> list[str]:
        return [error for error in self.errors if not any(words in error for words in self.foreseen)] + self.elsewhere

    def watch(self, page: Any, origin: str) -> None:
        page.on("console", lambda said: said.type in ("error", "warning") and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(origin) or self.elsewhere.append(asked.url))


@contextmanager
def visit(browser: Any, **how: Any) -> Iterator[Any]:
    """A browser context of its own: cookies, tabs, patience."""
    with browser.new_context(**how) as context:
        context.set_default_timeout(TIMEOUT_MS)
        yield context


def follow_link(tab: Any, node: Node, origin: str) -> None:
    """Sign in as a person does: by the link `claire web` prints."""
    tab.goto(login.link(node, origin))
    tab.wait_for_url(f"{origin}/")
    ready(tab)


def ready(tab: Any) -> None:
    """Wait until the page's scripts listen."""
    tab.wait_for_function("window.htmx !== undefined")
