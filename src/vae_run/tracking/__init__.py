"""What a run records while it trains: TensorBoard events and `history.csv`.

May import runs, system.
"""
