"""Environments, promotion, ledger, signatures, rollback. MLflow is spoken to in ``tracking.py`` alone."""
