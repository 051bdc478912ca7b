"""The body of an HTTP answer, decompressed with a bound on what comes out, not only on what goes in."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx2

from mcpcompose.errors import UpstreamError

_PIECE: Final = 1 << 20


class BodyTooLarge(UpstreamError):  # noqa: N818  the name of the thing
    """An answer over the limit, or compressed in a way that we did not ask for."""


async def bounded(response: httpx2.Response, limit: int | None) -> AsyncIterator[bytes]:
    """The pieces of the body, at most *limit* bytes together. Raises `BodyTooLarge`."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
        raise BodyTooLarge(f"answered with the encoding `{encoding}`, which was not asked for")
    inflate = zlib.decompressobj(wbits=47) if encoding not in {"identity", ""} else None
    total = 0
    async for chunk in response.aiter_raw():
        for piece in (chunk,) if inflate is None else _inflated(inflate, chunk):
            total += len(piece)
            if limit is not None and total > limit:
                raise BodyTooLarge(f"answered with more than {limit} bytes")
            yield piece
            if inflate is not None:
                await asyncio.sleep(0)  # a small chunk can be a lot of work


async def whole(response: httpx2.Response, limit: int | None) -> bytes:
    """The body in one piece. Raises `BodyTooLarge`; the caller closes *response*."""
    if "content-encoding" in response.headers or not isinstance(response.stream, httpx2.AsyncByteStream):
        return b"".join([piece async for piece in bounded(response, limit)])
    pieces, total = [], 0
    async for piece in response.stream:  # what is in one piece needs no layers that cut it
        total += len(piece)
        if limit is not None and total > limit:
            raise BodyTooLarge(f"answered with more than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _inflated(inflate: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    """At most a thousandfold of what came, as deflate itself allows, in pieces that the caller can stop between."""
    try:
        while chunk:
            yield inflate.decompress(chunk, _PIECE)
            chunk = inflate.unconsumed_tail
    except zlib.error as error:
        raise BodyTooLarge(f"answered with a broken compression: {error}") from error


def advice(status: int, *, sse: bool = False) -> str:
    """What a person may do about an HTTP status."""
    if status in {401, 403}:
        return ": it wants credentials, see `headers`"
    if status == httpx2.codes.METHOD_NOT_ALLOWED and not sse:
        return ": is the path right, and does it need `transport: sse`?"
    return ": is the path right?" if status in {404, 405} else ""
