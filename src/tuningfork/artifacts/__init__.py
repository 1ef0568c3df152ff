"""Artifact stores: give files for references, in the server and in the workers.

Offers a store on the local disk, and one that gets the server's objects by a transport, with a bounded local cache.
Does not know what the files contain, nor which job or model they belong to.
"""
