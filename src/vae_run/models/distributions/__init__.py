"""What `torch.distributions` lacks: point masses, spheres, flows, sampled KL divergences.

May import nothing else of vae-run.
"""
