"""The two ways a command ends early; `cli` turns them into exit codes."""


class UserError(Exception):
    """Bad input or config: one clear line that names the value, its origin and what would be right (exit code 2)."""


class Stopped(Exception):
    """Stopped on purpose (signal or time limit) with the state saved; start again to continue (exit code 42)."""


class NonFiniteError(UserError):
    """A loss, activation or gradient left the finite numbers; the message names step, layer and term."""
