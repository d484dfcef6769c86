"""Kairos measured side by side with its peers: `kairos bench` lists the members, `kairos bench NAME --json` runs one.

`harness` says how a comparison is made, `members/` what is compared, `peers/` runs the others as their own
documentation advises, `load` makes HTTP requests from a process of its own.
"""
