"""Storing objects: buckets, uploads and downloads, for those who may. Does not know how they are asked for."""
