"""One plain module per stage: ingest, validate, features, train, evaluate, stress, package, promote.

Each stage is a function of a ``Workspace``; ``python -m pipelines.<stage>`` is how DVC calls it.
"""
