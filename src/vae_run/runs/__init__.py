"""Run directories: their files, their checkpoints, and loading a trained model from them.

May import config, data, models, system.
"""
