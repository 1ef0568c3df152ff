"""The messages of the server's own API, `tuningfork/v1`, in proto JSON like Google's.

Does not know how a call came in.
"""
