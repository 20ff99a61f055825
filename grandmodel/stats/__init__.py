"""Honest numbers: performance, bootstrap, Sharpe ratios under selection, purged folds, tests of value at risk."""
