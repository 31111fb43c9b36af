"""Image files decoded to arrays, by threads or processes, once or at every start.

May import data.checks, data.split_names, system.
"""
