"""Who looks at a text for harm: what a rater is, the lexical one of the package, and the file that names another.

Offers assessments of texts, whole or growing; refuses to know what is done about them, and the models that need torch.
"""
