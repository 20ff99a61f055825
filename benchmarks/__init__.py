"""Measurements that are too slow for tests; results are committed with seed, commit and machine."""
