"""openSMILE's worker processes that the features of a test process share.

A worker process costs 1.3 s of processor time before its first answer.
"""

import contextlib
from collections import defaultdict

from tfser.features import opensmile

start_worker = opensmile._Worker
_idle = defaultdict(list)  # of each set of features


class Lent:
    """A worker process until nobody needs it; then it serves the next feature."""

    def __init__(self, **arguments):
        self.idle, self.worker = _idle[tuple(arguments.items())], None
        while self.idle and self.worker is None:
            worker = self.idle.pop()
            # The collector may have closed it before it was given back.
            self.worker = None if worker.connection.closed else worker
        self.worker = self.worker or start_worker(**arguments)
        self.names = self.worker.names

    def ask(self, message):
        worker, self.worker = self.worker, None  # an answer that nobody takes would be the next
        answer = worker.ask(message)
        self.worker = worker
        return answer

    def __del__(self):
        if self.worker:
            self.idle.append(self.worker)


@contextlib.contextmanager
def made_by(make=Lent):
    """Let features make their worker processes by a class; without one they share them."""
    before, opensmile._Worker = opensmile._Worker, make
    try:
        yield
    finally:
        opensmile._Worker = before
