"""The measured server over HTTP, raw ASGI on uvicorn: JSON answers, no sessions. Its argument is the port."""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn
from answers import answer

_JSON = (b"content-type", b"application/json")


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one POST."""
    if scope["method"] != "POST":
        await send({"type": "http.response.start", "status": 405, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    content = answer(json.loads(body))
    status = 202 if content is None else 200
    length = (b"content-length", str(len(content or b"")).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length]})
    await send({"type": "http.response.body", "body": content or b""})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", log_level="warning")
