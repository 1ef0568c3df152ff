"""Evaluation runs: held-out examples that up to four models answer, and what their answers are worth.

Offers use cases in which only a run's owner sees it; refuses to know how an answer is generated and what a screen
shows.
"""
