"""The two ways a command ends early; `cli` turns them into exit codes."""


class UserError(Exception):
    """Bad input or config: one clear line that names the value, its origin and what would be right (exit code 2)."""


class Stopped(Exception):
    """Stopped on purpose (signal or time limit) with the state saved; start again to continue (exit code 42)."""


def first_line(error: BaseException) -> str:
    """The kind of an error and how its text begins, for errors of libraries that say more than a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


class SharedError(UserError):
    """What all processes of a run find out alike; the first one says it."""


class NonFiniteError(SharedError):
    """A loss, activation or gradient left the finite numbers; the message names step, layer and term."""
