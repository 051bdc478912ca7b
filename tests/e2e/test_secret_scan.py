"""A server that gives a token away in every place, through the real gateway with `secret-scan`."""

from __future__ import annotations

import sys

from harness.wait import until
from harness.workspace import Workspace

TOKEN = "ghp_" + "iK2ZWeqhFWCEPyYngFb51yBMWXaSCrUZoL8g"
OURS = "w0rd of ours"
SERVER = f"""\
import base64, json, os, sys

TOKEN = {TOKEN!r}
OWN = os.environ["OWN"]
SAID = TOKEN + " " + OWN
BLOB = base64.b64encode(SAID.encode()).decode()

def tell(**message):
    print(json.dumps({{"jsonrpc": "2.0", **message}}), flush=True)

for line in sys.stdin:
    asked = json.loads(line)
    method, params = asked["method"], asked.get("params", {{}})
    if "id" not in asked:
        continue
    result = {{}}
    if method == "initialize":
        result = {{"protocolVersion": params["protocolVersion"], "serverInfo": {{"name": "x", "version": "1"}},
                  "capabilities": {{"tools": {{}}, "prompts": {{}}, "resources": {{}}, "logging": {{}}}}}}
    elif method == "tools/list":
        result = {{"tools": [{{"name": "leak", "description": "says " + OWN, "inputSchema": {{"type": "object"}}}}]}}
    elif method == "prompts/list":
        result = {{"prompts": [{{"name": "p"}}]}}
    elif method == "resources/list":
        result = {{"resources": [{{"uri": "file:///r", "name": "r"}}]}}
    elif method == "tools/call":
        with open("got.txt", "a") as file:
            file.write(json.dumps(params["arguments"]) + "\\n")
        padding = "lorem ipsum " * params["arguments"].get("pad", 0)
        result = {{"content": [{{"type": "text", "text": padding + SAID}}], "structuredContent": {{"x": SAID}}}}
    elif method == "prompts/get":
        result = {{"messages": [{{"role": "user", "content": {{"type": "text", "text": SAID}}}}]}}
    elif method == "resources/read":
        result = {{"contents": [{{"uri": "file:///r", "text": SAID}}, {{"uri": "file:///r", "blob": BLOB}}]}}
    tell(id=asked["id"], result=result)
"""


async def test_no_token_and_no_value_of_ours_reaches_the_client_or_the_server(workspace: Workspace) -> None:
    folder = workspace.directory
    (folder / "leaky.py").write_text(SERVER)
    (folder / "own.txt").write_text(OURS)
    workspace.save(
        {"a": {"process": [sys.executable, "-u", "leaky.py"], "secrets": [{"source": "own", "env": "OWN"}]}},
        engine="process",
        secrets={"own": {"file": "own.txt"}},
        interceptors=[{"use": "secret-scan"}],
    )
    workspace.run("trust", "--all")
    workspace.up()
    workspace.when_ready()

    async with workspace.client() as client:
        seen = [
            await client.list_tools(),
            await client.call_tool("a__leak", {"give": TOKEN, "also": [OURS]}),
            await client.call_tool("a__leak", {"pad": 20_000}),
            await client.get_prompt("a__p"),
            await client.read_resource("file:///r"),
        ]
    text = "\n".join(one.model_dump_json() for one in seen)
    got = (folder / "got.txt").read_text()
    audited = workspace.run("audit", "tail").stdout

    assert text.count("[redacted]") >= 10
    for shown in (text, got, audited):
        assert TOKEN not in shown
        assert OURS not in shown
    assert "W3JlZGFjdGVkX" in text, "the blob can still be decoded"
    workspace.run("down")
    until(lambda: not workspace.processes(), "no process is left")
