"""HTTP as Google's APIs use it: query options, streamed answers, method override, error bodies, credentials.

Offers `GoogleForm`, the form of a dialect; does not know which methods exist, nor which library serves HTTP.
"""
