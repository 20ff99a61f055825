"""When markets trade: hours, holidays, short days, and which session a bar belongs to."""
