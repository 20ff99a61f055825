"""The simulated market: its paths, its calibration on real files, and the oracle that knows its edge."""
