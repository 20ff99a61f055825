"""``python -m grandmodel.cli``."""

from grandmodel.cli.app import main

main()
