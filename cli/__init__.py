"""The verbs of the command `kairos`, one module each; `kairos.py` names them, none is imported before it is called."""
