"""The gates a release must pass, one file each, and the report that shows them.

Every gate is a function ``judge(...) -> GateResult``. A refusal is data, not an error, and what cannot be computed is
refused.
"""
