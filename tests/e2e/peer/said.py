"""What the peers in Python tell the tests, a line of JSON each."""

import json
import sys


def say(**what):
    # At once: other threads have something to say, too, and print writes the line and its end apart.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
