"""The only caller of `tailscale`: who else is on the tailnet, and our own addresses there."""

import asyncio
import shutil

from claire.sync.discovery import Tailnet, read_tailscale

STATUS_S_MAX = 3.0
NOTHING = Tailnet([], [])


async def status() -> Tailnet:
    """The tailnet as its daemon sees it; empty where there is none."""
    program = shutil.which("tailscale")
    if program is None:
        return NOTHING
    process = await asyncio.create_subprocess_exec(
        program, "status", "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), STATUS_S_MAX)
    except TimeoutError:
        process.kill()
        await process.wait()
        return NOTHING
    return read_tailscale(output) if process.returncode == 0 else NOTHING
