"""A server for the engine tests: a word and what it is about per line."""

import os
import sys
from pathlib import Path

print("server is up", file=sys.stderr, flush=True)
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "env":
        answer = os.environ.get(rest, "")
    elif word == "secret":
        answer = Path(os.environ.get("MCP_COMPOSE_SECRETS_DIR", "/run/secrets"), rest).read_text()
    elif word == "exit":
        sys.exit(int(rest))
    elif word == "flood":
        for _ in range(int(rest)):
            sys.stdout.buffer.write(b"x" * 1023 + b"\n")
        answer = "flooded"
    else:
        answer = rest
    print(answer, flush=True)
