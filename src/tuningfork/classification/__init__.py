"""Models that rate texts for harm: classifiers with a score for each label, and guards that answer in words.

Offers a rater for each model description; it rates passages in batches. Knows no thresholds and no callers.
"""
