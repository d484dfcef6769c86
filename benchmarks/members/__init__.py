"""What can be measured, one file each: a module defines `benchmark = Benchmark(...)`."""
