"""Engines in child processes of this machine: trainer, generator and rater, and the messages to and from them.

Knows no states of jobs, users or databases.
"""
