"""`python -m vae_run` is `vae-run`."""

from vae_run.cli.entry import main

if __name__ == "__main__":
    main()
