"""GrandModel: may this model trade, and can we prove why?"""

__version__ = "0.1.0"
