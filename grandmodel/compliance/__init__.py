"""Rule checks with evidence: each control with its limit, the test that makes it fire, and when it last fired here.

What a control says it checks is checked elsewhere, in the guard and at the doors of the registries. This room only puts
side by side what is written down about that. It judges nobody, and it never says that a law is fulfilled.
"""
