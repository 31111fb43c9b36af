"""Configurations: the groups of parts, the schema, and every check that needs no data.

May import nothing else of vae-run.
"""
