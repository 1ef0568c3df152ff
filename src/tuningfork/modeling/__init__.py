"""What training and inference share: loading a base, adapter slots, attention over packed tokens, chat templates.

This is the lowest package that imports torch. It knows no jobs and no requests.
"""
