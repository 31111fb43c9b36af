"""The machine and the operating system: files, processes, signals, memory, the terminal.

May import nothing else of vae-run.
"""
