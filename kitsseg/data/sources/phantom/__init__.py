"""Synthetic patients: `patient` draws parameters, `anatomy` renders volumes, `phantom` writes files."""
