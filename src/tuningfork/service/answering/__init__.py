"""The use cases of asking models: generating text, rating texts for harm, keeping adapters in memory.

Knows no wire formats.
"""
