"""The one error that a user's mistake raises: what was wrong, what was given, what was expected, how to mend it."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user gave cannot be used. The command line prints it and exits with status 2.

    where     the file, key, line or argument that is at fault
    problem   what was found there
    expected  what would have been right
    mend      what the user can do about it
    """

    def __init__(self, where: object, problem: str, expected: str = "", mend: str = ""):
        self.where, self.problem, self.expected, self.mend = str(where), problem, expected, mend
        lines = [f"{where}: {problem}"]
        if expected:
            lines.append(f"  expected: {expected}")
        if mend:
            lines.append(f"  to mend:  {mend}")
        super().__init__("\n".join(lines))
