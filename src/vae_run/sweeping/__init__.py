"""Many runs as one sweep: what is to be done, in which processes, and what it left behind."""
