"""Prints what is no protocol on its standard output, and goes on reading."""

import sys

sys.stdout.write("Welcome to the server!\n\x1b[31m{not json\n" * 50)
sys.stdout.flush()
for _line in sys.stdin:
    sys.stdout.write("still not json\n")
    sys.stdout.flush()
