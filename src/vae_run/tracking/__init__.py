"""What a run records while it trains: TensorBoard events and `history.csv`.

May import evaluation.quantities, evaluation.quantity, runs, system.
"""
