"""The use cases: the only room where rules, store and executor meet; every state change of a job is here.

Takes domain values and a principal; refuses to know JSON, HTTP and processes.
"""
