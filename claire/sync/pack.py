"""Compressed bodies: zstd for pages of events, inflated only as far as a body may be large. Pure."""

import sys

from claire.sync.wire import BATCH_BYTES_MAX, Malformed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODING = "zstd"
LEVEL = 1  # level 1 is faster than sending the bytes as they are, even over loopback
WORTH_BYTES = 1_024


def pack(body: bytes) -> bytes:
    return zstd.compress(body, LEVEL)


def unpack(packed: bytes) -> bytes:
    """The body again; Malformed if it is not zstd, or is larger than a body may be."""
    inflate = zstd.ZstdDecompressor()
    try:
        body = inflate.decompress(packed, BATCH_BYTES_MAX + 1)
    except zstd.ZstdError as error:
        raise Malformed(f"not zstd: {error}") from None
    if len(body) > BATCH_BYTES_MAX:
        raise Malformed(f"body larger than {BATCH_BYTES_MAX} bytes")
    if not inflate.eof or inflate.unused_data:
        raise Malformed("zstd that is cut or has something behind it")
    return body
