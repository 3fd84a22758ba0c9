"""Commands run in this process, and the motion they are run on: for the tests of the command line."""

from __future__ import annotations

import numpy as np

from kinema import cli
from kinema.types import BodyMotion


def walk(frames: int = 24) -> BodyMotion:
    """A body that glides forward and swings its legs."""
    rotvec = np.zeros((frames, 55, 3), np.float32)
    rotvec[:, 1, 0] = 0.3 * np.sin(np.arange(frames) / 3)
    rotvec[:, 2, 0] = -rotvec[:, 1, 0]
    root = np.stack([np.zeros(frames), np.full(frames, 0.95), np.arange(frames) * 0.04], 1).astype(np.float32)
    return BodyMotion("human", rotvec, root, np.zeros(10, np.float32), 20.0)


def status(*arguments: object) -> int:
    """Exit status of a command run in this process."""
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def refused(capsys, *arguments: object) -> str:
    """What a command says that must end with status 2 and without a traceback."""
    assert status(*arguments) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert not said.out
    return said.err
