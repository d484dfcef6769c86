"""Events into the ledger, and from the ledger to fresh features: accepting is one thing, keeping fresh another."""
