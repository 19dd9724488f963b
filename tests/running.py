"""How tests run a command, and kill a training."""

import contextlib
import io
import logging
import signal
from types import SimpleNamespace


def called(main, *arguments):
    """Runs a command in this process, with the exit code, stdout and stderr as its answer."""
    log = logging.getLogger("tfser")
    before = list(log.handlers), log.propagate, log.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code
        finally:
            log.handlers[:], log.propagate = before[:2]
            log.setLevel(before[2])
            for number, handler in signals.items():
                signal.signal(number, handler)
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


@contextlib.contextmanager
def killing_events(folder, events):
    """TensorBoard's writer, until the second epoch."""
    with events(folder) as write:

        def killed(step, *arguments):
            write(step, *arguments)
            if step == 2:
                raise KeyboardInterrupt

        yield killed
