"""Runs beside each other: what differs between them, and what that did to their figures."""
