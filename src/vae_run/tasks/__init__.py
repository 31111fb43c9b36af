"""Tasks: one module each, run by its `main(call)`."""
