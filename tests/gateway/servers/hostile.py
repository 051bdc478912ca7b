"""A server that shakes hands, lists one tool, and then misbehaves as its first argument says."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

MODE = sys.argv[1]
OUT = sys.stdout.buffer


def send(**message: Any) -> None:
    OUT.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    OUT.flush()


def result(id_: Any, text: str) -> None:
    send(id=id_, result={"content": [{"type": "text", "text": text}]})


def misbehave(id_: Any, text: str) -> None:  # noqa: C901, PLR0912  one misdeed after another
    match MODE:
        case "floods":
            line = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n'
            while True:
                OUT.write(line * 1000)
        case "prattles":
            while True:
                OUT.write(b"Listening on port 8080 ...\n" * 1000)
        case "changes":
            line = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
            while True:
                OUT.write(line * 1000)
        case "asks":
            for number in range(1_000_000_000):
                send(id=number, method="sampling/createMessage", params={"messages": []})
        case "long":
            OUT.write(b'{"jsonrpc":"2.0","id":"x","result":"')
            for _ in range(100):
                OUT.write(b"x" * (1 << 20))
            OUT.write(b'"}\n')
            OUT.flush()
            result(id_, text)
        case "deaf":
            while True:
                time.sleep(60)
        case "twice":
            result(id_, text)
            result(id_, "again")
            send(id=id_, error={"code": -1, "message": "and again"})
        case "wrong":
            number = int(str(id_).removeprefix("gw-"))
            for wrong in (number, None, 1.5, f"gw-{number + 1000}", f"GW-{number}", f"gw-0{number}", "", [], {}, True):
                result(wrong, "not yours")
            result(id_, text)
        case "half":
            OUT.write(b'{"jsonrpc":"2.0","id":"' + str(id_).encode() + b'","result":{"content":[')
            OUT.flush()
            sys.exit(3)


for line in sys.stdin.buffer:
    asked = json.loads(line)
    method, number = asked.get("method"), asked.get("id")
    if number is None:
        continue
    if method == "initialize":
        info = {"name": "hostile", "version": "1"}
        capabilities = {"tools": {"listChanged": True}, "logging": {}}
        send(id=number, result={"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info})
    elif method == "tools/list":
        send(id=number, result={"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        misbehave(number, asked["params"].get("arguments", {}).get("text", ""))
    else:
        send(id=number, error={"code": -32601, "message": "no"})
