"""Honest numbers: performance, bootstrap, Sharpe ratios under selection, and purged walk-forward folds."""
