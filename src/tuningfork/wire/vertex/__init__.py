"""Vertex AI's dialect of tuning and serving: `parse_*` reads requests into the domain, `render_*` writes answers.

Knows every field of google.cloud.aiplatform.v1 and v1beta1 that this server reads or writes; knows no routes, users or
store.
"""
