"""Raters, which assess texts for harm: the protocol, the lexical rater, and the file that configures another rater.

Offers assessments of whole texts and of growing ones. Does not know what follows from an assessment, and does not
import the models that need torch.
"""
