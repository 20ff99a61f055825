"""The named feature columns of both clocks: what an agent may see, computed from the past alone."""
