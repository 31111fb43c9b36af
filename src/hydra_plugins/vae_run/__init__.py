"""What vae-run plugs into Hydra: shells that delegate to `vae_run.sweeps`.

May import sweeps.
"""
