"""Configurations: the groups of parts, the schemas, and every check that needs no data.

May import nothing else of vae-run.
"""
