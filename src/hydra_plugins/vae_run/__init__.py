"""What vae-run plugs into Hydra: launchers, and sweepers that keep a ledger.

May import cli, config, sweeps, system.
"""
