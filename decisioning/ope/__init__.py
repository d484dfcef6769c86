"""Off-policy evaluation: what another policy would have earned on logged decisions. One file, one estimator.

Throughout, n decisions were logged: reward r [n], propensity p [n] of the action that was taken (> 0, as it was drawn
with), and target e [n], the probability with which the policy in question would have taken that same action. The
importance weight is w = e / p.
"""
