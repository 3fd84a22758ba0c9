"""python -m kinema, which launchers of several processes can start."""

from kinema.cli import main

main()
