"""The simulated broker: costs, fills, accounts, environments, replay, and the intent between the two clocks."""
