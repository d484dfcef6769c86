"""The simulated market, part by part: who people are, how their lives go, what they do, and what is true of them."""
