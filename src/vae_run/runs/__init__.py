"""Run directories: their files, their checkpoints, and the trained model read from them.

May import config, models, system.
"""
