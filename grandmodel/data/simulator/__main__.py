"""``python -m grandmodel.data.simulator``: write or describe a simulated market."""

from grandmodel.data.simulator.generate import main

main()
