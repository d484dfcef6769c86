"""The whole loop once: `kairos demo`."""

from cli.demo.command import run

__all__ = ["run"]
