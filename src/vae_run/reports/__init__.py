"""Pages that a reader opens: a run's `report.html`, and that of a comparison.

Each is one file that fetches nothing: pictures are data URIs, styles are inline, no script runs.

May import comparison, config, evaluation, plots, runs, system, tracking.
"""
