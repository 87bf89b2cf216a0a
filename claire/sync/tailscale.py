"""The only caller of `tailscale`: who else is on the tailnet, our own addresses there, whose one is."""

import asyncio
import shutil

from claire.sync.discovery import Tailnet, read_tailscale

STATUS_S_MAX = 3.0
NOTHING = Tailnet([], [])


async def status() -> Tailnet:
    """The tailnet as its daemon sees it; empty where there is none."""
    code, output = await _ask("status", "--json")
    return read_tailscale(output) if code == 0 else NOTHING


async def is_known(address: str) -> bool:
    """False if Tailscale says that no host of the tailnet has this address; without Tailscale nobody can say that."""
    code, _ = await _ask("whois", "--json", address)
    return code in (0, None)


async def _ask(*argv: str) -> tuple[int | None, bytes]:
    """(exit code, stdout) of `tailscale`; (None, b"") where there is none, or it does not answer in time."""
    program = shutil.which("tailscale")
    if program is None:
        return None, b""
    process = await asyncio.create_subprocess_exec(
        program, *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(STATUS_S_MAX):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None, b""
    return process.returncode, output
