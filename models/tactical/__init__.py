"""The tactical team: one order per 5-minute bar, under the strategic intent."""
