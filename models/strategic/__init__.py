"""The strategic team: one intent per 30-minute bar."""
