"""Tasks, a module each with `main(call)`, and modules that several tasks share.

May import comparison, config, corruptions, data, evaluation, exports, models, plots, reports, runs,
system, tracking, training.
"""
