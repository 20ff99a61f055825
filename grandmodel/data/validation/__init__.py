"""Great Expectations over raw rows, and drift of a new batch against the training reference."""
