"""MCP over stdin and stdout: JSON-RPC, a message a line; what the tools do is in tools.py.

Written by hand because of what it costs: one such process runs beside every Claude session, and the official SDK
(2.3) takes 1.0 s and 67 MB to its first answer where this takes 0.08 s and 21 MB, and brings 30 packages. Of the
protocol a server with a few tools needs four methods.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

import claire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Handler = Callable[[dict[str, Any]], Any]

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
LINE_BYTES_MAX = 1 << 20
SKIP_BYTES = 1 << 16
NOT_JSON, NOT_A_REQUEST, NO_METHOD, BAD_PARAMS, BROKEN = -32700, -32600, -32601, -32602, -32603


class RpcError(Exception):
    """What the caller did wrong, as JSON-RPC says it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Tools:
    """What the server offers: `listed` as the protocol describes tools, `call(name, arguments)` -> (text, failed)."""

    def __init__(
        self, listed: list[dict[str, Any]], call: Callable[[str, dict[str, Any]], tuple[str, bool]], about: str
    ) -> None:
        self.listed, self.call, self.about = listed, call, about


def serve(source: BinaryIO, sink: BinaryIO, tools: Tools, say: Callable[[str], None]) -> None:
    """Answer until the client closes its end; `say` is the log, never stdout."""
    methods = _methods(tools)
    for line in lines(source):
        answer = respond(line, methods, say)
        if answer is not None:
            sink.write(msgspec.json.encode(answer) + b"\n")
            sink.flush()


def lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines without their end; one that is too long comes cut, so that it is answered and the next one read."""
    while line := source.readline(LINE_BYTES_MAX):
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = source.readline(SKIP_BYTES)
        if line.strip():
            yield line


def _methods(tools: Tools) -> dict[str, Handler]:
    return {
        "initialize": lambda params: _initialize(params, tools.about),
        "ping": lambda params: {},
        "tools/list": lambda params: {"tools": tools.listed},
        "tools/call": lambda params: _call(params, tools),
    }


def respond(line: bytes, methods: dict[str, Handler], say: Callable[[str], None]) -> dict[str, Any] | None:
    """The answer to one line; None for notifications and for answers to what we never asked."""
    id_: Any = None
    try:
        message = _read(line)
        if "method" not in message or "id" not in message:
            return None
        id_ = message["id"] if isinstance(message["id"], str | int) else None
        result = _handler(message, methods)(_params(message))
    except RpcError as error:
        return {"jsonrpc": "2.0", "id": id_, "error": {"code": error.code, "message": str(error)}}
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, OSError) as error:
        say("".join(traceback.format_exception(error)))  # a mistake of ours ends this call, not the agent's server
        return {"jsonrpc": "2.0", "id": id_, "error": {"code": BROKEN, "message": f"internal error: {error}"}}
    return {"jsonrpc": "2.0", "id": id_, "result": result}


def _read(line: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RpcError(NOT_JSON, f"not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RpcError(NOT_A_REQUEST, "not a JSON-RPC 2.0 message")
    return message


def _handler(message: dict[str, Any], methods: dict[str, Handler]) -> Handler:
    name = message["method"]
    if not isinstance(name, str) or name not in methods:
        raise RpcError(NO_METHOD, "method not found")
    return methods[name]


def _params(message: dict[str, Any]) -> dict[str, Any]:
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise RpcError(BAD_PARAMS, "params is not an object")
    return params


def _initialize(params: dict[str, Any], about: str) -> dict[str, Any]:
    asked = params.get("protocolVersion")
    return {
        "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "claire", "version": claire.__version__},
        "instructions": about,
    }


def _call(params: dict[str, Any], tools: Tools) -> dict[str, Any]:
    name, arguments = params.get("name"), params.get("arguments") or {}
    if not isinstance(name, str) or name not in {tool["name"] for tool in tools.listed}:
        raise RpcError(BAD_PARAMS, "there is no such tool")
    if not isinstance(arguments, dict):
        raise RpcError(BAD_PARAMS, "arguments is not an object")
    text, failed = tools.call(name, arguments)
    return {"content": [{"type": "text", "text": text}], "isError": failed}
