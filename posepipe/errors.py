"""The errors posepipe shows to a person: one sentence, with the fix in it, and the exit code that belongs to it."""

_LONGEST = 1000


class PosepipeError(Exception):
    """Base of every expected failure.

    `message` says what is wrong, `hint` says what to do about it. The command line prints both as one line and exits
    with `exit_code`; a traceback appears only with `--debug`. What a library or a damaged file put into the message
    may have line breaks and no end: it becomes one line of at most a thousand characters.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        message = _line(message)
        super().__init__(message if not hint else f"{message} {hint}")
        self.message = message
        self.hint = hint


def _line(text: str) -> str:
    text = " ".join(part.strip() for part in text.splitlines()) if len(text.splitlines()) > 1 else text
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


class InputError(PosepipeError):
    """An input could not be read or holds nothing usable (exit 1)."""


class OutputError(PosepipeError):
    """An output could not be written; nothing is left under its final name (exit 1)."""


class CheckpointError(PosepipeError):
    """A checkpoint or graph is missing, damaged or made for another skeleton, conversion or network (exit 1)."""


class EngineError(PosepipeError):
    """An engine is missing, damaged, of another machine or version, or cannot be built or captured (exit 1)."""


class MissingDependencyError(PosepipeError):
    """An optional library or a system library is not installed (exit 1)."""


class UsageError(PosepipeError):
    """The command was called with arguments that cannot work (exit 2)."""

    exit_code = 2
