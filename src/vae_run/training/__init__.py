"""Training: trainers, which find the parameters of a model, with their loop and settings.

May import config, corruptions, data, evaluation, models, objectives, runs, system, tracking.
"""
