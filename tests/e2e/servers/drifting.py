"""
A small MCP server that offers what a file says: `{"tools": …, "prompts": …, "templates": …, "instructions": …}`.

It looks at the file (`OFFERS`, else `/offers/offers.json`) again and again, and says so when it has changed. Every call
is noted in the file `CALLS` beside it, so that a scenario sees what came through.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

OFFERS = os.environ.get("OFFERS", "/offers/offers.json")
LISTS = {"tools/list": "tools", "prompts/list": "prompts", "resources/templates/list": "templates"}
MEMBERS = {"templates": "resourceTemplates"}
writing = threading.Lock()


def offers() -> dict[str, object]:
    with open(OFFERS) as file:
        return json.load(file)


def say(message: dict[str, object]) -> None:
    with writing:
        print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def watch() -> None:
    before = offers()
    while True:
        time.sleep(0.05)
        now = offers()
        if now != before:
            before = now
            for kind in ("tools", "prompts", "resources"):
                say({"method": f"notifications/{kind}/list_changed"})


def answer(method: str, params: dict[str, object]) -> dict[str, object]:  # noqa: PLR0911  one for each method
    if method == "initialize":
        changing = {"listChanged": True}
        said = offers()
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": changing, "prompts": changing, "resources": changing, "completions": {}},
            "serverInfo": {"name": "drifting", "version": "1"},
            **({"instructions": said["instructions"]} if said.get("instructions") else {}),
        }
    if method in LISTS:
        kind = LISTS[method]
        return {MEMBERS.get(kind, kind): offers().get(kind, [])}
    if method == "resources/list":
        return {"resources": []}
    if method == "resources/read":
        return {"contents": [{"uri": params["uri"], "text": f"content of {params['uri']}"}]}
    if method == "prompts/get":
        return {"messages": [{"role": "user", "content": {"type": "text", "text": f"prompt {params['name']}"}}]}
    if method == "completion/complete":
        return {"completion": {"values": ["completed"]}}
    return {"content": [{"type": "text", "text": f"called {params.get('name')}"}]}


def main() -> None:
    threading.Thread(target=watch, daemon=True).start()
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        print(f"got {message['method']} {json.dumps(message.get('params'))}", file=sys.stderr, flush=True)
        say({"id": message["id"], "result": answer(message["method"], message.get("params") or {})})


main()
