"""Trades to bars: one kernel for whole files, small batches and single ticks."""
