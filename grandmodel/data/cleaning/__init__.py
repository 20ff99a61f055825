"""Rows to bars: what is wrong is cut, what is merely unusual stays, a roll is never a return."""
