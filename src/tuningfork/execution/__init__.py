"""Where the engines run: the protocols `Trainers`, `Generators` and `Raters`, and their implementations.

Offers training as iterators of events and generation as iterators of chunks. Knows no database, wire formats or
callers.
"""
