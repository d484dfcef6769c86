"""Policies: one file, one policy, found unasked. Each module defines `policy` with its default parameters."""
