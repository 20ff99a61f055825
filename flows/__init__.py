"""Prefect and nothing else: when, how often, who approves, what if it fails."""
