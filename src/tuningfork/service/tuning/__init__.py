"""The use cases of tuning: creates, lists, runs and ends jobs. Every change of a job's state is made here.

Does not know wire formats, nor where engines run.
"""
