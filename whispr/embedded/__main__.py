"""`python -m whispr.embedded serve`: the local run.

`python -m whispr.embedded run web|worker|beat|grpc|migrate`: one role of a deployment.
"""

import os
import sys

from whispr.embedded import processes, supervisor
from whispr.embedded.process import say


def main(arguments: list[str]) -> int:
    """Do what the command line says; the exit code."""
    if arguments == ["serve"]:
        return supervisor.serve(os.environ)
    if len(arguments) >= 2 and arguments[0] == "run":
        try:
            command = processes.deployed(arguments[1], os.environ, arguments[2:])
        except ValueError as error:
            say(str(error))
            return 2
        os.execv(command[0], command)
    say("usage: python -m whispr.embedded serve | run web|worker|beat|grpc|migrate")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
