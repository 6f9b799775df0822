"""Functions in a process of their own, which can be stopped whatever they do."""

import contextlib
import multiprocessing
import os
import signal


class Stoppable:
    """A function that another process makes and calls.

    It is stopped with all processes that it has started, and made anew when it is called again.

    Parameters
    ----------
    make : callable
        Makes the function, there. Of a module, so that it can be pickled.
    *args : object
        For ``make``.
    """

    def __init__(self, make, *args):
        self._start = (make, *args)
        self._process = None

    def __call__(self, *args, limit=None):
        """Return what the function does; after ``limit`` seconds raise TimeoutError."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, there = context.Pipe()
            self._process = context.Process(target=_serve, args=(there, *self._start))
            self._process.start()
            there.close()
            self._connection.recv()  # made
        self._connection.send(args)
        if not self._connection.poll(limit):
            self.stop()
            raise TimeoutError(f"takes more than {limit:.2g} s")
        return self._connection.recv()

    def stop(self):
        """Stop the process, if there is one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()
            self._connection.close()
            self._process = None


def _serve(connection, make, *args):
    """Make the function and answer calls until nobody is there."""
    os.setsid()
    function = make(*args)
    connection.send("made")
    with contextlib.suppress(EOFError):
        while True:
            connection.send(function(*connection.recv()))
