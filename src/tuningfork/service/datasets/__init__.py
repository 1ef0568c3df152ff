"""Staged datasets: uploading training data, looking at it, correcting it, and making a tuning job of it.

Offers use cases in which only a dataset's owner sees it; refuses to know how a file is read and what a screen shows.
"""
