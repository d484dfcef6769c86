"""The contracts everyone imports, that import nobody: events, clock, errors, settings, card, ledger."""
