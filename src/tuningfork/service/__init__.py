"""The use cases: the only package that combines the domain's rules, the store and the engines.

Every change of a job's state happens here. Takes domain values and a principal; knows no JSON, HTTP or processes.
"""
