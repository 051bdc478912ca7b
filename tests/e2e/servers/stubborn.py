"""The echo server, not to be ended by asking: neither the end of its input nor a signal that can be ignored ends it."""

import runpy
import signal
from pathlib import Path

for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
    signal.signal(ignored, signal.SIG_IGN)
runpy.run_path(str(Path(__file__).with_name("echo.py")), run_name="__main__")
while True:
    signal.pause()
