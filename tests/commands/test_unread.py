"""A command whose output nobody reads any more ends as others do; a lost connection doesn't end it."""

import os
import signal
import subprocess
import sys

from tests import ROOT

# A server that is gone, while what is printed is read.
CODE = """
import os, socket
from kitsseg import cli
cli.check_command_line("report", ["--help"])
one, other = socket.socketpair()
other.close()
try:
    one.send(b"x")
except BrokenPipeError:
    os.write(2, b"went on")
print("xxx")
"""


def unread(*arguments: str) -> tuple[int, str]:
    """How Python ends, and what it says, when its output's reader has gone."""
    reading, writing = os.pipe()
    line = [sys.executable, *arguments]
    process = subprocess.Popen(line, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    os.close(reading)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


def test_it_ends_quietly() -> None:
    assert unread("-m", "kitsseg.train", "--help") == (-signal.SIGPIPE, "")
    # Hydra shows what a job raises; a signal comes before that.
    code = "from kitsseg import report; report.run = lambda cfg: print('x' * 100_000); report.main()"
    assert unread("-c", code, "runs=tests") == (-signal.SIGPIPE, "")


def test_a_lost_connection_is_an_error_as_ever() -> None:
    line = [sys.executable, "-c", CODE]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "xxx\n", "went on")
