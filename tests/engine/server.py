import os
import sys

print("server is up", file=sys.stderr, flush=True)
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "env":
        answer = os.environ.get(rest, "")
    elif word == "secret":
        answer = open(os.path.join(os.environ.get("MCP_COMPOSE_SECRETS_DIR", "/run/secrets"), rest)).read()
    elif word == "exit":
        sys.exit(int(rest))
    elif word == "flood":
        for _ in range(int(rest)):
            sys.stdout.buffer.write(b"x" * 1023 + b"\n")
        answer = "flooded"
    else:
        answer = rest
    print(answer, flush=True)
