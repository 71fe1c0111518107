"""For all tests: Ctrl-C is heard, by them and by the processes that they start."""

import signal


def pytest_configure() -> None:
    # A shell starts what it puts into the background deaf to SIGINT, and so are that one's children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
