"""Training: the loop, the step, the trainers, and what they need.

May import config, corruptions, data, evaluation, models, objectives, runs, system, tracking.
"""
