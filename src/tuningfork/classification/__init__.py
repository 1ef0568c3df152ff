"""Models that rate texts for harm: classifiers with a score for each label, and guards that answer in words.

Offers a rater for a model's description, which takes passages in batches; refuses to know thresholds and who is asking.
"""
